fn main() {
    hms_window_build::site("dist");
}
