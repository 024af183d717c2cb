use super::{Process, free_port};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// nginx (Debian: nginx), one worker for each processor, without an access log.
pub struct Nginx {
    _process: Process,
    folder: TempDir,
    pub url: String,
}

impl Nginx {
    /// With these blocks in its one server; `{root}` in them is its folder for files.
    pub fn start(http: &str, server: &str) -> anyhow::Result<Nginx> {
        let folder = tempfile::tempdir()?;
        let (port, root) = (free_port()?, folder.path().join("www"));
        std::fs::create_dir(&root)?;
        // Started by root it works as somebody else.
        for folder in [folder.path(), &root] {
            std::fs::set_permissions(folder, Permissions::from_mode(0o777))?;
        }
        let root = root.display().to_string();
        let at = folder.path().display().to_string();
        let text = format!(
            "daemon off; worker_processes auto; pid {at}/pid; error_log stderr crit;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n  access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000; client_max_body_size 1g;\n\
             client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
             {http}\n  server {{ listen 127.0.0.1:{port}; root {root};\n{server}\n  }}\n}}\n"
        );
        let config = folder.path().join("nginx.conf");
        std::fs::write(&config, text.replace("{root}", &root))?;
        let program = if PathBuf::from("/usr/sbin/nginx").exists() {
            "/usr/sbin/nginx"
        } else {
            "nginx"
        };
        let mut command = Command::new(program);
        command
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&config)
            .args(["-e", "stderr"]);
        Ok(Nginx {
            _process: Process::start(&mut command, port)?,
            folder,
            url: format!("http://127.0.0.1:{port}"),
        })
    }

    /// Where its files are.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("www")
    }
}
