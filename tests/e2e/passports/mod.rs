//! The renewal of a passport: a saga over the four windows of the repository, with their own files
//! of grants. [`town`] has the windows and those who use them.

mod town;

use hms_harness::eventually;
use http::Method;
use serde_json::{Value, json};
use town::{Town, fee};

/// What alice is told, in the order of time, however often she looks.
async fn told(town: &Town, wanted: &[&str]) {
    eventually("alice is told", || async {
        let listed = town.get("alice", "/api/v1/notifications").await;
        let listed = listed["notifications"].as_array().unwrap().clone();
        let text = |it: &Value| it["text"].as_str().unwrap().to_owned();
        let mut texts: Vec<_> = listed.iter().map(text).collect();
        texts.sort_unstable();
        let mut wanted: Vec<_> = wanted.iter().map(|it| (*it).to_owned()).collect();
        wanted.sort_unstable();
        assert!(texts.len() <= wanted.len(), "{texts:?}");
        (texts == wanted).then_some(())
    })
    .await;
}

const PAID: &str = "We have received your payment of 60 EUR: passport fee.";
const REFUNDED: &str = "We have refunded your payment of 60 EUR: passport fee.";
const STORED: &str = "Your document me.jpg is stored.";

#[tokio::test]
async fn renewal_is_approved_by_somebody_else_once_fee_and_photo_have_arrived() {
    let town = Town::open("10d").await;
    let (path, renewal) = town.apply("alice", json!({ "name": "Alice" })).await;
    assert_eq!(renewal["status"], "waiting");
    assert_eq!(renewal["steps"]["fee"]["state"], "due");
    // One at a time.
    let second = town
        .ask(
            "alice",
            Method::POST,
            "/api/v1/passports",
            r#"{"name":"A"}"#,
        )
        .await;
    assert_eq!(second.problem(), "renewal-open");
    assert_eq!(second.header("location"), path);

    town.pay("alice", &fee(&renewal)).await;
    let photo = town.upload("alice", "me.jpg").await;
    let renewal = town.once(&path, "in-review").await;
    assert_eq!(renewal["steps"]["photo"]["document"], photo);

    let approve = r#"{"decision":"approve"}"#;
    let decision = format!("{path}/decision");
    let by_alice = town.ask("alice", Method::POST, &decision, approve).await;
    assert_eq!(by_alice.status, 403, "{}", by_alice.text());
    // Not with the scope either.
    let by_alice = town.decide_as("alice", &path, approve).await;
    assert_eq!(by_alice.problem(), "own-renewal");
    let by_eve = town.decide_as("eve", &path, approve).await;
    assert_eq!(by_eve.status, 200, "{}", by_eve.text());
    assert_eq!(by_eve.json()["status"], "approved");
    let again = town
        .decide_as("eve", &path, r#"{"decision":"refuse"}"#)
        .await;
    assert_eq!(again.problem(), "decided");

    told(&town, &[PAID, STORED, "Your passport renewal is approved."]).await;
    assert_eq!(
        town.get("bob", "/api/v1/passports").await["passports"],
        json!([])
    );
    let of_bob = town.ask("bob", Method::GET, &path, "").await;
    assert_eq!(of_bob.status, 404);
}

#[tokio::test]
async fn refusal_gives_the_fee_back_once() {
    let town = Town::open("10d").await;
    let photo = town.upload("alice", "me.jpg").await;
    let (path, renewal) = town
        .apply("alice", json!({ "name": "Alice", "photo": photo }))
        .await;
    let payment = town.pay("alice", &fee(&renewal)).await;
    town.once(&path, "in-review").await;
    let refuse = r#"{"decision":"refuse","reason":"photo too dark"}"#;
    let refused = town.decide_as("eve", &path, refuse).await;
    assert_eq!(refused.json()["status"], "refused", "{}", refused.text());

    let renewal = eventually("the fee is given back", || async {
        let renewal = town.get("alice", &path).await;
        (renewal["steps"]["fee"]["state"] == "refunded").then_some(renewal)
    })
    .await;
    assert_eq!(renewal["status"], "refused");
    let payment = format!("/api/v1/payments/{payment}");
    assert_eq!(town.get("alice", &payment).await["status"], "refunded");
    let again = town
        .ask("alice", Method::POST, &format!("{payment}/refund"), "")
        .await;
    assert_eq!(again.problem(), "already-refunded");
    let refusal = "Your passport renewal was refused: photo too dark.";
    told(&town, &[PAID, STORED, refusal, REFUNDED]).await;
    // The next one is another one.
    town.apply("alice", json!({ "name": "Alice" })).await;
}

#[tokio::test]
async fn payment_that_no_renewal_takes_is_given_back() {
    let town = Town::open("10d").await;
    let (path, renewal) = town.apply("alice", json!({ "name": "Alice" })).await;
    let reference = renewal["steps"]["fee"]["reference"].clone();
    let too_little = json!({ "amount": 59.99, "reference": reference });
    let nobodys = json!({ "amount": 60, "reference": "passports/none" });
    let refunded = async |payment: &str| {
        let payment = format!("/api/v1/payments/{payment}");
        let payment = &payment;
        eventually("it is given back", || async {
            let payment = town.get("alice", payment).await;
            (payment["status"] == "refunded").then_some(())
        })
        .await;
    };
    for payment in [too_little, nobodys] {
        refunded(&town.pay("alice", &payment).await).await;
    }
    let first = town.pay("alice", &fee(&renewal)).await;
    let paid = || async {
        let renewal = town.get("alice", &path).await;
        (renewal["steps"]["fee"]["payment"] == json!(first)).then_some(())
    };
    eventually("the fee is paid", paid).await;
    refunded(&town.pay("alice", &fee(&renewal)).await).await;
    let kept = town
        .get("alice", &format!("/api/v1/payments/{first}"))
        .await;
    assert_eq!(kept["status"], json!(null));
    let steps = town.get("alice", &path).await["steps"].clone();
    assert_eq!(steps["fee"]["payment"], json!(first));
}

#[tokio::test]
async fn citizen_who_has_not_paid_is_reminded_once() {
    let town = Town::open("1s").await;
    let (path, _) = town.apply("alice", json!({ "name": "Alice" })).await;
    let reminder = "Your passport renewal still needs: the fee, the photo.";
    told(&town, &[reminder]).await;
    let renewal = town.get("alice", &path).await;
    assert_eq!(renewal["status"], "waiting");
    assert!(renewal["reminded"].is_u64(), "{renewal}");
}

#[tokio::test]
async fn renewal_outlives_the_host_at_every_step() {
    let mut town = Town::open("4s").await;
    let (path, renewal) = town.apply("alice", json!({ "name": "Alice" })).await;
    town.restart().await;
    let payment = town.pay("alice", &fee(&renewal)).await;
    town.restart().await;
    town.upload("alice", "me.jpg").await;
    town.restart().await;
    town.once(&path, "in-review").await;
    let refused = town
        .decide_as("eve", &path, r#"{"decision":"refuse"}"#)
        .await;
    assert_eq!(refused.status, 200, "{}", refused.text());
    town.restart().await;
    let payment = format!("/api/v1/payments/{payment}");
    eventually("the fee is given back", || async {
        let payment = town.get("alice", &payment).await;
        (payment["status"] == "refunded").then_some(())
    })
    .await;
    town.restart().await;
    eventually("alice is told of each once", || async {
        let listed = town.get("alice", "/api/v1/notifications").await;
        let texts: Vec<_> = listed["notifications"].as_array().unwrap().clone();
        let count = |wanted: &str| texts.iter().filter(|it| it["text"] == wanted).count();
        let counts = [
            count(PAID),
            count(STORED),
            count("Your passport renewal was refused."),
            count(REFUNDED),
        ];
        assert!(counts.iter().all(|count| *count <= 1), "{texts:?}");
        (counts == [1; 4]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn event_that_a_client_forges_is_refused() {
    let town = Town::open("10d").await;
    let scopes = ["payments.write"];
    let bearer = format!("Bearer {}", town.host.token("alice", &scopes));
    for window in ["payments", "notifications", "passports"] {
        town.host.write_route(
            &format!("events-of-{window}.yaml"),
            &format!(
                "uri: /open/{window}/**\nupstream: http://hms-svc-{window}\n\
                 strip-prefix: /open/{window}\n"
            ),
        );
        let path = format!("/open/{window}/events");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "urn:hms:window:passports"),
            ("ce-type", "gov.passport.refused.v1"),
            ("ce-subject", "r-1"),
            ("x-hms-delivery", "fees; attempt=1; round=1"),
        ];
        let forged = eventually("the route is live", || async {
            let data = r#"{"id":"r-1","owner":"alice","payment":"p-1"}"#;
            let answer = town.host.call(Method::POST, &path, &headers, data).await;
            (answer.problem() != "no-route").then_some(answer)
        })
        .await;
        assert_eq!(forged.problem(), "not-a-delivery", "{}", forged.text());
        assert_eq!(forged.status, 403);
    }
}
