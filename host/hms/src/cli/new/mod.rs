//! `hms new`: the folder of a new window, in the author's language. Everything that it writes is in
//! the program, so it needs neither a clone nor a network.

mod align;
mod catalogue;
mod project;

use anyhow::{Context, bail};
use catalogue::{LANGUAGES, Language, TEMPLATES};
use clap::Args;
use hms_telemetry::print_json;
use hms_windows::WindowName;
use project::Project;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Make the folder of a new window: sources, tests, a route and a README.
#[derive(Debug, Args)]
pub(super) struct New {
    /// The window's name
    #[arg(required_unless_present = "list")]
    name: Option<WindowName>,
    /// The folder, which may exist if it is empty [default: the name]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The language: rust, js, ts, python or c
    #[arg(long, value_name = "LANG", default_value = "rust")]
    lang: Language,
    /// What it begins as; --list shows what there is
    #[arg(long, value_name = "TEMPLATE", default_value = "http")]
    template: String,
    /// List the templates, and the languages that have them
    #[arg(long, conflicts_with_all = ["name", "folder"])]
    list: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl New {
    pub(super) fn run(self) -> anyhow::Result<()> {
        if self.list {
            list(self.json);
            return Ok(());
        }
        let name = self.name.context("say the window's name")?;
        let lang = &self.lang;
        let known = lang.templates();
        if !known.contains(&&*self.template) {
            bail!("{}", missing(lang, &self.template, &known));
        }
        lang.check_name(&name)?;
        let project = Project::new(lang, &self.template, &name);
        let folder = self.folder.unwrap_or_else(|| name.as_str().into());
        let files = project.write(&folder)?;
        let shown = folder.display();
        match self.json {
            true => print_json(&json!({
                "name": name,
                "folder": shown.to_string(),
                "lang": lang.name,
                "template": self.template,
                "files": files,
            })),
            false => {
                say!("made {shown}: the window {name}, in {}", lang.title);
                say!("  cd {shown}");
                say!("  hms up      builds and serves it, and again whenever you save");
                say!("  hms test    runs its tests; README.md has the rest");
                if lang.name == "rust"
                    && let Some(manifest) = project::enclosing_workspace(&folder)
                {
                    say!(
                        "{} is a workspace: where its members match this folder, `exclude` it",
                        manifest.display()
                    );
                }
            }
        }
        Ok(())
    }
}

/// Why there is no such template, and what there is.
fn missing(lang: &Language, template: &str, known: &[&str]) -> String {
    let title = lang.title;
    let have = match known {
        [] => {
            let with = LANGUAGES.iter().filter(|it| !it.templates().is_empty());
            let with: Vec<&str> = with.map(|it| it.name).collect();
            return format!(
                "there is no template for {title} yet; use --lang {}",
                with.join(" or --lang ")
            );
        }
        known => known.join(", "),
    };
    match TEMPLATES.iter().any(|(name, _)| *name == template) {
        true => format!("{title} has no template '{template}'; it has {have}"),
        false => format!(
            "there is no template '{}'; {title} has {have}",
            template.escape_debug()
        ),
    }
}

fn list(as_json: bool) {
    let languages = |template: &str| -> Vec<&str> {
        let has = |it: &&Language| it.templates().contains(&template);
        LANGUAGES.iter().filter(has).map(|it| it.name).collect()
    };
    if as_json {
        let templates: Vec<Value> = TEMPLATES
            .iter()
            .map(|(name, what)| json!({ "template": name, "what": what, "lang": languages(name) }))
            .collect();
        return print_json(&json!({ "templates": templates }));
    }
    say!("{:<12}{:<26}what it is", "template", "--lang");
    for (name, what) in TEMPLATES {
        say!("{name:<12}{:<26}{what}", languages(name).join(" "));
    }
}
