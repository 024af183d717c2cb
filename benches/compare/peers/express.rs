use super::{Process, free_port, with_packages};
use std::process::Command;

/// An Express service behind an Express gateway, which checks tokens of the shared secret, limits,
/// and proxies.
pub struct Express {
    _service: Process,
    _gateway: Process,
    pub url: String,
}

impl Express {
    /// `secret` in base64, as tokens of HS256 are signed with.
    pub fn start(secret: &str) -> anyhow::Result<Express> {
        let folder = with_packages("express")?;
        let node = |file: &str| {
            let mut command = Command::new("node");
            command
                .arg(file)
                .current_dir(&folder)
                .env("NODE_ENV", "production");
            command
        };
        let (inner, outer) = (free_port()?, free_port()?);
        let service = Process::start(node("service.js").arg(inner.to_string()), inner)?;
        let target = format!("http://127.0.0.1:{inner}");
        let mut gateway = node("gateway.js");
        gateway.args([&outer.to_string(), &target, secret]);
        Ok(Express {
            _service: service,
            _gateway: Process::start(&mut gateway, outer)?,
            url: format!("http://127.0.0.1:{outer}"),
        })
    }
}
