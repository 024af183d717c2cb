use super::{Process, free_port};
use std::path::Path;
use std::process::Command;

/// Which version of WASI a component is of.
#[derive(Clone, Copy)]
pub enum Wasi {
    P2,
    P3,
}

/// `wasmtime serve` (`cargo install wasmtime-cli --version 48.0.8 --locked`), with its default
/// flags but for those that a component needs to start, and `more`.
pub struct Wasmtime {
    _process: Process,
    pub url: String,
}

impl Wasmtime {
    pub fn start(
        program: &str,
        component: &Path,
        wasi: Wasi,
        more: &[&str],
    ) -> anyhow::Result<Wasmtime> {
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["serve", "-Scli", "--addr", &format!("127.0.0.1:{port}")]);
        if let Wasi::P3 = wasi {
            command.args(["-Sp3", "-Wcomponent-model-async"]);
        }
        command.args(more).arg(component);
        Ok(Wasmtime {
            _process: Process::start(&mut command, port)?,
            url: format!("http://127.0.0.1:{port}/"),
        })
    }
}
