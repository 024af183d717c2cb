use super::{Process, free_port, with_packages};
use std::process::Command;

/// workerd from its npm package, with a hello and no gateway's work.
pub struct Workerd {
    _process: Process,
    pub url: String,
}

impl Workerd {
    pub fn start() -> anyhow::Result<Workerd> {
        let folder = with_packages("workerd")?;
        let port = free_port()?;
        let mut command = Command::new(folder.join("node_modules/.bin/workerd"));
        command
            .args([
                "serve",
                "config.capnp",
                &format!("--socket-addr=http=127.0.0.1:{port}"),
            ])
            .current_dir(&folder);
        Ok(Workerd {
            _process: Process::start(&mut command, port)?,
            url: format!("http://127.0.0.1:{port}/"),
        })
    }
}
