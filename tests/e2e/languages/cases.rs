//! The cases: each a request, and what its answer has to be.

use hms_harness::{Answer, Host};
use http::Method;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The scopes that the route asks for.
const SCOPES: [&str; 2] = ["payments.write", "payments.read"];

/// What earlier answers have said, by the names under which cases keep it.
pub(super) type Kept = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    /// The user whose token is sent.
    r#as: Option<String>,
    /// Method and path, below the prefix of the API.
    send: String,
    json: Option<Value>,
    body: Option<String>,
    /// Bytes of a member of the body.
    large: Option<usize>,
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Members that the JSON of the answer has.
    answer: Option<Value>,
    text: Option<String>,
    /// The code of a problem, and a part of its detail.
    problem: Option<String>,
    detail: Option<String>,
    /// What to keep of the answer, by the pointers of RFC 6901.
    #[serde(default)]
    keep: BTreeMap<String, String>,
}

/// Runs all cases in their order.
pub(super) async fn run(host: &Host) -> Kept {
    let cases: Vec<Case> = serde_json::from_str(include_str!("payments.json")).unwrap();
    let mut kept = Kept::new();
    for case in cases {
        let answer = ask(host, &case, &kept).await;
        let name = &case.case;
        assert_eq!(
            answer.status.as_u16(),
            case.status,
            "{name}: {}",
            answer.text()
        );
        for (what, pointer) in &case.keep {
            let json = answer.json();
            let value = json.pointer(pointer).and_then(Value::as_str);
            kept.insert(
                what.clone(),
                value.unwrap_or_else(|| panic!("{name}: {json}")).to_owned(),
            );
        }
        check(&case, &answer, &kept);
    }
    kept
}

async fn ask(host: &Host, case: &Case, kept: &Kept) -> Answer {
    let (method, path) = case.send.split_once(' ').unwrap();
    let method: Method = method.parse().unwrap();
    let path = format!("/api/v1{}", filled(path, kept));
    let bearer = (case.r#as.as_ref()).map(|user| format!("Bearer {}", host.token(user, &SCOPES)));
    let headers: Vec<_> = bearer
        .iter()
        .map(|bearer| ("authorization", bearer.as_str()))
        .collect();
    let large =
        (case.large).map(|bytes| format!("{{\"amount\":1,\"purpose\":\"{}\"}}", "a".repeat(bytes)));
    let json = case.json.as_ref().map(Value::to_string);
    let body = case.body.clone().or(large).or(json).unwrap_or_default();
    host.call(method, &path, &headers, body).await
}

fn check(case: &Case, answer: &Answer, kept: &Kept) {
    let name = &case.case;
    for (header, value) in &case.headers {
        assert_eq!(
            answer.header(header),
            filled(value, kept),
            "{name}: {header}"
        );
    }
    if let Some(text) = &case.text {
        assert_eq!(&answer.text(), text, "{name}");
    }
    if let Some(code) = &case.problem {
        assert_eq!(&answer.problem(), code, "{name}");
    }
    if let Some(detail) = &case.detail {
        let json = answer.json();
        let told = json["detail"].as_str().unwrap();
        assert!(told.contains(detail), "{name}: {told}");
    }
    if let Some(expected) = &case.answer {
        let expected: Value = serde_json::from_str(&filled(&expected.to_string(), kept)).unwrap();
        let json = answer.json();
        for (member, value) in expected.as_object().unwrap() {
            assert_eq!(&json[member], value, "{name}: {member}");
        }
    }
}

/// `text` with what was kept in place of `{its name}`.
fn filled(text: &str, kept: &Kept) -> String {
    let one = |text: String, (name, value): (&String, &String)| {
        text.replace(&format!("{{{name}}}"), value)
    };
    kept.iter().fold(text.to_owned(), one)
}
