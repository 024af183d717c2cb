//! `hms inspect`: what a component is, and what a host would say of it.

mod abilities;

use super::show::{size, text};
use abilities::abilities;
use anyhow::Context;
use clap::Args;
use hms_core::units::Size;
use hms_disk::files::read_at_most;
use hms_runtime::Experimental;
use hms_runtime::anatomy::{Anatomy, Module, anatomy};
use hms_runtime::inspect::{Inspection, Refusal, advice, inspect, interfaces};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Components that are read. 1 GiB: far more than a host takes.
const MAX_BYTES: u64 = 1 << 30;

/// What a host takes unless its operator says otherwise: the default of --max-upload.
const MAX_UPLOAD: Size = Size::of(128 << 20);

/// Custom sections that are told, the largest first.
const MAX_SECTIONS: usize = 8;

/// Show what a component exports and imports, what it can do, what its parts weigh, what made it,
/// and whether a host would take it.
///
/// Exits with 1 if a host would refuse it.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// Say it of a host with --wasi-otel
    #[arg(long, env = "HMS_WASI_OTEL")]
    wasi_otel: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What there is to say.
struct Report {
    bytes: u64,
    refusal: Option<Refusal>,
    found: Inspection,
    anatomy: Anatomy,
    /// Imports that the host does not provide, and what to do about each.
    missing: Vec<(String, String)>,
}

impl Inspect {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let shown = self.file.display();
        let bytes = read_at_most(&self.file, MAX_BYTES);
        let bytes = bytes.with_context(|| format!("{shown} cannot be read"))?;
        let experimental = Experimental {
            wasi_otel: self.wasi_otel,
        };
        let report = Report::of(&bytes, experimental);
        match self.json {
            true => say!("{:#}", report.json()),
            false => say!("{}", report.text().trim_end()),
        }
        if let Some(refusal) = &report.refusal {
            anyhow::bail!("{shown} would be refused: {refusal}");
        }
        Ok(())
    }
}

impl Report {
    fn of(bytes: &[u8], experimental: Experimental) -> Report {
        // What is refused may still be a component, with much to say about it.
        let found = interfaces(bytes).unwrap_or_else(|_| Inspection {
            imports: Vec::new(),
            exports: Vec::new(),
        });
        let missing = found.imports.iter();
        let missing =
            missing.filter_map(|import| Some((import.clone(), advice(import, experimental)?)));
        Report {
            bytes: bytes.len() as u64,
            refusal: inspect(bytes, false, experimental).err(),
            missing: missing.collect(),
            anatomy: anatomy(bytes).unwrap_or_default(),
            found,
        }
    }

    /// What the host would say.
    fn verdict(&self) -> String {
        let large = self.bytes > MAX_UPLOAD.bytes();
        match &self.refusal {
            Some(refusal) => format!("would be refused ({}): {refusal}", refusal.code()),
            None if large => format!("needs a host with --max-upload above {MAX_UPLOAD}"),
            None => "would be accepted, if it compiles and starts".into(),
        }
    }

    fn text(&self) -> String {
        let mut page = Page(String::new());
        page.line(&format!("deploy    {}", text(&self.verdict())));
        page.line(&format!("size      {}", size(self.bytes)));
        if let Some(made) = self.made_by() {
            page.line(&format!("made by   {made}"));
        }
        let can = abilities(&self.found);
        page.list("it can", can.into_iter());
        let missing = self.missing.iter();
        let missing = missing.map(|(import, advice)| format!("{}: {advice}", text(import)));
        page.list("imports that this host does not have", missing);
        page.list("exports", self.found.exports.iter().map(|name| text(name)));
        page.list("imports", self.found.imports.iter().map(|name| text(name)));
        page.list("parts", self.parts().into_iter());
        page.0
    }

    fn made_by(&self) -> Option<String> {
        let mut tools = Vec::new();
        tools.extend(self.anatomy.sdk.as_deref().map(text));
        for kind in ["sdk", "language", "processed-by"] {
            let of_kind = self.anatomy.producers.get(kind);
            for (tool, version) in of_kind.into_iter().flatten() {
                tools.push(text(format!("{tool} {version}").trim()));
            }
        }
        (!tools.is_empty()).then(|| tools.join(", "))
    }

    /// The core modules, the largest first, and the sections beside them.
    fn parts(&self) -> Vec<String> {
        let mut modules: Vec<&Module> = self.anatomy.modules.iter().collect();
        modules.sort_by_key(|module| std::cmp::Reverse(module.bytes));
        let part = |module: &&Module| {
            let name = module.name.as_deref().unwrap_or("without a name");
            let (code, data) = (size(module.code), size(module.data));
            let custom = sections(&module.custom);
            format!(
                "core module {}: {}, of it code {code}, data {data}{custom}",
                text(name),
                size(module.bytes)
            )
        };
        let mut parts: Vec<String> = modules.iter().map(part).collect();
        if !self.anatomy.custom.is_empty() {
            let custom = sections(&self.anatomy.custom);
            parts.push(format!("beside them{}", custom.trim_start_matches(',')));
        }
        parts
    }

    fn json(&self) -> Value {
        let missing = self.missing.iter();
        let missing = missing.map(|(name, advice)| json!({ "import": name, "advice": advice }));
        let modules = self.anatomy.modules.iter().map(|module| {
            json!({
                "name": module.name,
                "bytes": module.bytes,
                "code": module.code,
                "data": module.data,
                "custom": module.custom,
            })
        });
        json!({
            "deploy": {
                "accepted": self.refusal.is_none(),
                "code": self.refusal.as_ref().map(Refusal::code),
                "message": self.verdict(),
            },
            "bytes": self.bytes,
            "can": abilities(&self.found),
            "exports": self.found.exports,
            "imports": self.found.imports,
            "missing": missing.collect::<Vec<_>>(),
            "modules": modules.collect::<Vec<_>>(),
            "custom": self.anatomy.custom,
            "producers": self.anatomy.producers,
            "sdk": self.anatomy.sdk,
        })
    }
}

/// The largest custom sections, as the end of a sentence.
fn sections(custom: &BTreeMap<String, u64>) -> String {
    let mut all: Vec<(&String, &u64)> = custom.iter().collect();
    all.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
    let told = all.iter().take(MAX_SECTIONS);
    let told = told.map(|(name, bytes)| format!(", section {} {}", text(name), size(**bytes)));
    told.collect()
}

struct Page(String);

impl Page {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn list(&mut self, title: &str, lines: impl Iterator<Item = String>) {
        let lines: Vec<String> = lines.collect();
        if lines.is_empty() {
            return;
        }
        self.line(&format!("\n{title}:"));
        for line in lines {
            self.line(&format!("  {line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn component_that_is_refused_is_still_described_with_what_to_do() {
        let component = r#"(component (import "spin:llm/llm@3.0.0" (instance))
            (import "wasi:keyvalue/store@0.2.0-draft2" (instance))
            (instance $i) (export "wasi:http/handler@0.3.0" (instance $i)))"#;
        let report = Report::of(&wat::parse_str(component).unwrap(), Experimental::default());
        let said = report.text();
        for part in [
            "would be refused (unknown-import)",
            "answer HTTP requests (WASI 0.3)",
            "keep data in its store",
            "spin:llm/llm@3.0.0: call the model's API over wasi:http",
            "wasi:http/handler@0.3.0",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!(report.json()["missing"][0]["import"], "spin:llm/llm@3.0.0");
    }

    #[test]
    fn core_module_is_told_how_to_become_a_component() {
        let report = Report::of(
            &wat::parse_str("(module (func))").unwrap(),
            Experimental::default(),
        );
        let said = report.verdict();
        assert!(said.contains("wasm-tools component new"), "{said}");
        assert_eq!(report.json()["deploy"]["code"], "core-module");
    }
}
