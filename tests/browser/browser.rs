//! A browser for one test, signed in where the test wants that.
//!
//! It speaks the few commands of WebDriver (W3C) that the tests need by itself. A client such as
//! fantoccini would bring some twenty crates, and features of `syn` with which every crate of the
//! host would be built once more for the tests.

use hms_harness::http::send;
use hms_harness::{Host, eventually};
use http::Method;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};

/// One browser at a time: each takes some hundred MiB.
static TURN: Mutex<()> = Mutex::const_new(());

/// A browser, and the driver that ends it.
pub struct Browser {
    driver: Child,
    base: String,
    session: String,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    /// None where there is no driver.
    pub async fn open() -> Option<Browser> {
        let turn = TURN.lock().await;
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut driver = match driver {
            Ok(driver) => driver,
            Err(error) => {
                let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
                assert!(!is_ci, "chromedriver: {error}");
                println!("SKIPPED: apt-get install chromium chromium-driver");
                return None;
            }
        };
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.ok()?;
            let port = line.strip_prefix("ChromeDriver was started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        std::thread::spawn(move || lines.for_each(drop));
        let base = format!("http://127.0.0.1:{}", port.expect("chromedriver starts"));
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": [
                "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                "--hide-scrollbars", "--window-size=1200,900",
            ]},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let mut browser = Browser {
            driver,
            base,
            session: String::new(),
            _turn: turn,
        };
        let begun = browser
            .try_ask(Method::POST, "/session", capabilities)
            .await;
        let begun = begun.expect("a session begins");
        begun["sessionId"]
            .as_str()
            .unwrap()
            .clone_into(&mut browser.session);
        Some(browser)
    }

    /// A browser that is signed in at `host`, on the page with all windows.
    pub async fn at(host: &Host) -> Option<Browser> {
        let browser = Browser::open().await?;
        browser.go(host, "/ui/").await;
        browser.sign_in(&token(host)).await;
        browser.see("h1", "Windows").await;
        Some(browser)
    }

    pub async fn go(&self, host: &Host, path: &str) {
        self.open_url(&format!("{}{path}", host.admin_url())).await;
    }

    pub async fn open_url(&self, url: &str) {
        self.ask("url", json!({"url": url})).await;
    }

    pub async fn sign_in(&self, token: &str) {
        self.write("#token", token).await;
        self.click("button.main").await;
    }

    /// Runs a script, whose value it gives.
    pub async fn run(&self, script: &str) -> Value {
        self.run_with(script, json!([])).await
    }

    pub async fn run_with(&self, script: &str, args: Value) -> Value {
        self.ask("execute/sync", json!({"script": script, "args": args}))
            .await
    }

    /// Runs a script that gives its value to the last of its arguments, a function.
    pub async fn run_async(&self, script: &str, args: Value) -> Value {
        self.ask("execute/async", json!({"script": script, "args": args}))
            .await
    }

    /// Waits until a script gives true.
    pub async fn until(&self, what: &str, condition: &str) {
        let body = json!({"script": format!("return !!({condition})"), "args": []});
        eventually(what, || async {
            let value = self.try_of_session("execute/sync", body.clone()).await;
            (value == Ok(Value::Bool(true))).then_some(())
        })
        .await;
    }

    /// Waits until an element that `css` selects has this text in it.
    pub async fn see(&self, css: &str, text: &str) {
        let script = "return [...document.querySelectorAll(arguments[0])].map((one) => \
                      one.innerText ?? one.textContent)";
        let body = json!({"script": script, "args": [css]});
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let all = self.try_of_session("execute/sync", body.clone()).await;
            let all = all.unwrap_or_default();
            let texts = all.as_array().into_iter().flatten();
            if texts
                .filter_map(Value::as_str)
                .any(|one| one.contains(text))
            {
                return;
            }
            if Instant::now() > deadline {
                let page = self.run("return document.body.innerText").await;
                let console = self.console().await;
                panic!("{css} does not say {text:?}: {all}; console: {console:?}; page: {page}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn click(&self, css: &str) {
        eventually(&format!("{css} is clicked"), || async {
            let element = self.find(css).await?;
            let clicked = self
                .try_of_session(&format!("{element}/click"), json!({}))
                .await;
            clicked.ok()
        })
        .await;
    }

    /// Replaces what a field has.
    pub async fn write(&self, css: &str, text: &str) {
        eventually(&format!("{css} is written"), || async {
            let element = self.find(css).await?;
            let cleared = self
                .try_of_session(&format!("{element}/clear"), json!({}))
                .await;
            cleared.ok()?;
            let keys = json!({"text": text});
            self.try_of_session(&format!("{element}/value"), keys)
                .await
                .ok()
        })
        .await;
    }

    /// Chooses a file for a file input.
    pub async fn choose(&self, css: &str, file: &Path) {
        let element = self.find(css).await.expect("the input is there");
        self.ask(&format!("{element}/value"), json!({"text": file}))
            .await;
    }

    /// Presses keys where the focus is.
    pub async fn press(&self, keys: &str) {
        let active = self
            .try_ask(Method::GET, &self.path("element/active"), Value::Null)
            .await;
        let element = element_path(&active.unwrap()).unwrap();
        self.ask(&format!("{element}/value"), json!({"text": keys}))
            .await;
    }

    /// Presses Tab until the focus is there.
    pub async fn tab_to(&self, css: &str) {
        let is_there = format!("return document.activeElement.matches({css:?})");
        for _ in 0..80 {
            if self.run(&is_there).await == true {
                return;
            }
            self.press("\u{E004}").await;
        }
        panic!("Tab does not lead to {css}");
    }

    /// Opens a tab and goes there.
    pub async fn new_tab(&self) {
        let tab = self.ask("window/new", json!({"type": "tab"})).await;
        self.switch(&tab["handle"]).await;
    }

    pub async fn switch(&self, tab: &Value) {
        self.ask("window", json!({"handle": tab})).await;
    }

    pub async fn tabs(&self) -> Vec<Value> {
        let tabs = self
            .try_ask(Method::GET, &self.path("window/handles"), Value::Null)
            .await;
        tabs.unwrap().as_array().cloned().unwrap()
    }

    /// Hides the window and what is in it.
    pub async fn minimize(&self) {
        self.ask("window/minimize", json!({})).await;
    }

    pub async fn restore(&self) {
        self.ask("window/rect", json!({"width": 1200, "height": 900}))
            .await;
    }

    pub async fn refresh(&self) {
        self.ask("refresh", json!({})).await;
    }

    /// The cookies of the page: each an object with its name and value.
    pub async fn cookies(&self) -> Vec<Value> {
        let cookies = self
            .try_ask(Method::GET, &self.path("cookie"), Value::Null)
            .await;
        cookies.unwrap().as_array().cloned().unwrap()
    }

    async fn find(&self, css: &str) -> Option<String> {
        let how = json!({"using": "css selector", "value": css});
        element_path(&self.try_of_session("element", how).await.ok()?)
    }

    /// A command of the DevTools protocol.
    pub async fn devtools(&self, command: &str, params: Value) -> Value {
        let body = json!({"cmd": command, "params": params});
        self.ask("goog/cdp/execute", body).await
    }

    /// What the console has said since the last look, favicons and the like included.
    pub async fn console(&self) -> Vec<String> {
        let entries = self.ask("se/log", json!({"type": "browser"})).await;
        let entries = entries.as_array().cloned().unwrap_or_default();
        let texts = entries
            .into_iter()
            .map(|entry| entry["message"].as_str().unwrap_or("").to_owned());
        texts.collect()
    }

    /// The same without what browsers say of answers with this status.
    pub async fn console_without(&self, statuses: &[u16]) -> Vec<String> {
        let mut lines = self.console().await;
        let said = |status: &u16| format!("responded with a status of {status}");
        lines.retain(|line| !statuses.iter().any(|status| line.contains(&said(status))));
        lines
    }

    fn path(&self, command: &str) -> String {
        format!("/session/{}/{command}", self.session)
    }

    /// A command that must succeed.
    async fn ask(&self, command: &str, body: Value) -> Value {
        let answer = self.try_of_session(command, body).await;
        answer.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    async fn try_of_session(&self, command: &str, body: Value) -> Result<Value, String> {
        self.try_ask(Method::POST, &self.path(command), body).await
    }

    async fn try_ask(&self, method: Method, path: &str, body: Value) -> Result<Value, String> {
        let url = format!("{}{path}", self.base);
        let headers = [("content-type", "application/json")];
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let mut answer = send(method, &url, &headers, body.into()).await.json();
        match answer["value"]["error"].is_string() {
            true => Err(answer["value"]["message"].to_string()),
            false => Ok(answer["value"].take()),
        }
    }

    /// So many CSS pixels wide, as on a phone.
    pub async fn resize(&self, width: u32, height: u32) {
        let params =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", params)
            .await;
    }

    /// As somebody who prefers dark, or light.
    pub async fn prefer(&self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.devtools("Emulation.setEmulatedMedia", json!({"features": [feature]}))
            .await;
    }
}

impl Drop for Browser {
    /// Ends the session first, which ends the browser; its driver alone would leave it running.
    fn drop(&mut self) {
        let address = self.base.trim_start_matches("http://");
        if let Ok(mut stream) = TcpStream::connect(address) {
            let _ = write!(
                stream,
                "DELETE /session/{} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n",
                self.session
            );
            // The driver keeps the connection open: its first line says that the session is over.
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let _ = BufReader::new(stream).read_line(&mut String::new());
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Where the commands for an element are, of the answer that found it.
fn element_path(found: &Value) -> Option<String> {
    let id = found.as_object()?.values().next()?.as_str()?;
    Some(format!("element/{id}"))
}

/// The admin token of a host.
pub fn token(host: &Host) -> String {
    let token = std::fs::read_to_string(host.data().join("admin.token")).unwrap();
    token.trim().to_owned()
}
