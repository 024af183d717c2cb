//! The windows of the repository with their own grants, and the people who use them.

use hms_harness::grants::Grants;
use hms_harness::http::multipart;
use hms_harness::{Answer, Host, Options, eventually, root, window};
use http::Method;
use serde_json::{Value, json};

const SCOPES: [&str; 7] = [
    "payments.write",
    "payments.read",
    "docs.write",
    "docs.read",
    "notifications.read",
    "passports.write",
    "passports.read",
];

pub struct Town {
    pub host: Host,
    _grants: Grants,
}

/// The form of a payment for the fee of this renewal.
pub fn fee(renewal: &Value) -> Value {
    let fee = &renewal["steps"]["fee"];
    json!({ "amount": fee["amount"], "purpose": "passport fee", "reference": fee["reference"] })
}

/// The repository's own route without its rate limit: these tests look often.
fn unlimited(file: &str) -> String {
    let text = std::fs::read_to_string(root().join("routes").join(file)).unwrap();
    let (route, _) = text.split_once("  - rate-limit").unwrap();
    route.to_owned()
}

impl Town {
    /// Who has not paid after `remind_after` is reminded.
    pub async fn open(remind_after: &str) -> Town {
        let grants = Grants::new();
        for name in ["payments", "notifications", "passports"] {
            let file = root().join("windows").join(format!("{name}.yaml"));
            let text = std::fs::read_to_string(file).unwrap();
            let reminder = format!("remind-after: {remind_after} ");
            grants.write(name, &text.replace("remind-after: 10d ", &reminder));
        }
        let routes = [
            "payments.yaml",
            "docs.yaml",
            "notifications.yaml",
            "passports.yaml",
            "passports-decision.yaml",
        ];
        let host = Host::start_with(Options {
            args: grants.args(),
            routes: routes.map(|file| (file, unlimited(file))).into(),
            ..Default::default()
        })
        .await;
        for name in ["payments", "docs", "notifications", "passports"] {
            host.deploy(name, &window(name).await).await;
        }
        Town {
            host,
            _grants: grants,
        }
    }

    /// The host is killed, and started again.
    pub async fn restart(&mut self) {
        self.host.kill();
        self.host.boot().await;
    }

    pub async fn ask(&self, user: &str, method: Method, path: &str, body: &str) -> Answer {
        self.ask_with(user, &SCOPES, method, path, body).await
    }

    async fn ask_with(
        &self,
        user: &str,
        scopes: &[&str],
        method: Method,
        path: &str,
        body: &str,
    ) -> Answer {
        let bearer = format!("Bearer {}", self.host.token(user, scopes));
        let headers = [("authorization", bearer.as_str())];
        self.host.call(method, path, &headers, body).await
    }

    /// What `user` reads there.
    pub async fn get(&self, user: &str, path: &str) -> Value {
        let answer = self.ask(user, Method::GET, path, "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// The path of a new renewal, and the renewal.
    pub async fn apply(&self, user: &str, form: Value) -> (String, Value) {
        let path = "/api/v1/passports";
        let answer = self.ask(user, Method::POST, path, &form.to_string()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        (answer.header("location").to_owned(), answer.json())
    }

    /// The id of a new payment.
    pub async fn pay(&self, user: &str, form: &Value) -> String {
        let path = "/api/v1/payments";
        let answer = self.ask(user, Method::POST, path, &form.to_string()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// The id of a new image.
    pub async fn upload(&self, user: &str, name: &str) -> String {
        let (kind, body) = multipart(name, "image/jpeg", b"not quite a photo");
        let bearer = format!("Bearer {}", self.host.token(user, &SCOPES));
        let headers = [("authorization", bearer.as_str()), ("content-type", &kind)];
        let path = "/api/v1/docs";
        let answer = self.host.call(Method::POST, path, &headers, body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    pub async fn decide_as(&self, user: &str, renewal: &str, decision: &str) -> Answer {
        let path = format!("{renewal}/decision");
        let scopes = ["passports.decide"];
        self.ask_with(user, &scopes, Method::POST, &path, decision)
            .await
    }

    /// Alice's renewal, once it has this status.
    pub async fn once(&self, renewal: &str, status: &str) -> Value {
        eventually(status, || async {
            let renewal = self.get("alice", renewal).await;
            (renewal["status"] == status).then_some(renewal)
        })
        .await
    }
}
