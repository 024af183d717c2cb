//! A window that imports what no SDK in this workspace brings: every draft of `wasi:config`,
//! `wasi:logging`, `wasmcloud:secrets@2.1.0`, and an interface that no host has. It calls each of
//! them when it is asked to.

use hms_window::{Problem, Request, Response, window};

wasip3::wit_bindgen::generate!({
    inline: "
        package hms:importer;
        world imports {
            import wasi:config/store@0.2.0-rc.1;
            import wasi:config/store@0.2.0-draft;
            import wasi:config/store@0.2.0-draft-2024-09-27;
            import wasi:logging/logging@0.1.0-draft;
            import wasmcloud:secrets/store@2.1.0;
            import wasmcloud:secrets/reveal@2.1.0;
            import acme:vault/doors@1.2.3;
        }
    ",
    path: [
        "../../../wit/deps/config.wit",
        "wit/config-draft.wit",
        "wit/config-draft-2024-09-27.wit",
        "../../../wit/deps/logging.wit",
        "../../../wit/foreign/wasmcloud-secrets.wit",
        "wit/vault.wit",
    ],
    runtime_path: "wasip3::wit_bindgen::rt",
    generate_all,
});

use wasi::config0_2_0_draft as draft;
use wasi::config0_2_0_draft_2024_09_27 as dated;
use wasi::config0_2_0_rc_1 as rc;
use wasi::logging::logging::{Level, log};
use wasmcloud::secrets::{reveal, store as secrets};

window!(handle);

async fn handle(request: Request) -> Result<Response, Problem> {
    let name = request.param::<String>("name")?.unwrap_or_default();
    let text = match &*request.segments() {
        // The entry of that name by each draft.
        ["config"] => format!(
            "{:?} {:?} {:?}",
            rc::store::get(&name),
            draft::store::get(&name),
            dated::store::get(&name)
        ),
        ["config-all"] => format!("{:?}", rc::store::get_all()),
        ["secret"] => match secrets::get(name).await {
            Ok(secret) => format!("{:?}", reveal::reveal(&secret).await),
            Err(error) => format!("{error:?}"),
        },
        // A thousand handles of one secret.
        ["secrets"] => {
            let mut held = Vec::new();
            for _ in 0..1000 {
                held.extend(secrets::get(name.clone()).await.ok());
            }
            format!("{}", held.len())
        }
        ["variable"] => format!("{:?}", std::env::var(&name)),
        ["variable3"] => {
            let all = wasip3::cli::environment::get_environment();
            let found = all.into_iter().find(|(its, _)| *its == name);
            format!("{:?}", found.map(|(_, value)| value))
        }
        ["log"] => {
            log(Level::Warn, "importer", &name);
            println!("printed {name}");
            "logged".to_owned()
        }
        // What no host has.
        ["door"] => acme::vault::doors::find(&name).open(),
        ["wait"] => acme::vault::doors::wait(name).await,
        _ => return Err(Problem::not_found()),
    };
    Ok(Response::text(200, text + "\n"))
}
