//! Embeds the site, and again when a file of it changes.

fn main() {
    hms_window_build::site("dist");
}
