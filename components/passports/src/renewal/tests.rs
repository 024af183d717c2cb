use super::*;
use serde_json::json;
use std::time::Duration;

fn renewal(photo: Option<&str>) -> Renewal {
    let application = Application {
        name: "Alice".into(),
        photo: photo.map(str::to_owned),
        phone: None,
    };
    let settings = Settings {
        fee: 60.into(),
        currency: "EUR".into(),
        remind_after: Duration::ZERO,
    };
    Renewal::new("r-1", "alice", &application, &settings, 1)
}

fn payment(id: &str, amount: &str) -> Payment {
    Payment {
        id: id.into(),
        owner: "alice".into(),
        amount: serde_json::from_str(amount).unwrap(),
        reference: Some(json!("passports/r-1")),
    }
}

fn image(id: &str) -> Document {
    Document {
        id: id.into(),
        owner: "alice".into(),
        content_type: "image/jpeg".into(),
    }
}

fn in_review() -> Renewal {
    let mut renewal = renewal(None);
    renewal.paid(&payment("p-1", "60")).unwrap();
    assert!(renewal.stored(&image("d-1")));
    renewal
}

fn ruling(decision: Verdict) -> Ruling {
    Ruling {
        decision,
        reason: None,
    }
}

#[test]
fn fee_and_photo_arrive_in_any_order() {
    let mut one = renewal(None);
    assert_eq!(one.missing(), ["the fee", "the photo"]);
    one.paid(&payment("p-1", "60.00")).unwrap();
    assert_eq!(
        (one.status, one.missing()),
        (Status::Waiting, vec!["the photo"])
    );
    assert!(one.stored(&image("d-1")));
    let mut other = renewal(None);
    assert!(other.stored(&image("d-1")));
    other.paid(&payment("p-1", "60.00")).unwrap();
    assert_eq!((one.status, &one), (Status::InReview, &other));
}

#[test]
fn payment_that_does_not_fit_is_given_back() {
    let mut renewal = renewal(None);
    for wrong in ["59.99", "61", "0"] {
        let why = renewal.paid(&payment("p-1", wrong)).unwrap_err();
        assert_eq!(why, "the fee is 60 EUR", "{wrong}");
    }
    let mut of_bob = payment("p-1", "60");
    of_bob.owner = "bob".into();
    assert!(renewal.paid(&of_bob).is_err());
    assert_eq!(renewal.steps.fee.state, FeeState::Due);

    renewal.paid(&payment("p-1", "60")).unwrap();
    let twice = renewal.paid(&payment("p-2", "60")).unwrap_err();
    assert_eq!(twice, "the fee was paid before");
    // The same one again is a replay.
    assert_eq!(renewal.paid(&payment("p-1", "60")), Ok(()));
    renewal.decide("eve", &ruling(Verdict::Refuse)).unwrap();
    assert!(renewal.paid(&payment("p-3", "60")).is_err());
    assert_eq!(renewal.paid(&payment("p-1", "60")), Ok(()));
}

#[test]
fn photo_is_the_named_document_or_else_the_next_image() {
    let mut named = renewal(Some("d-7"));
    assert!(!named.stored(&image("d-1")));
    assert!(named.stored(&image("d-7")));

    let mut renewal = renewal(None);
    let mut text = image("d-1");
    text.content_type = "text/plain".into();
    let mut of_bob = image("d-2");
    of_bob.owner = "bob".into();
    assert!(!renewal.stored(&text) && !renewal.stored(&of_bob));
    assert!(renewal.stored(&image("d-3")) && !renewal.stored(&image("d-4")));
    assert_eq!(renewal.steps.photo.document.as_deref(), Some("d-3"));
}

#[test]
fn fee_or_photo_taken_back_before_the_decision_is_missing_again() {
    let mut renewal = in_review();
    assert!(!renewal.removed("d-9") && renewal.removed("d-1"));
    assert_eq!(
        (renewal.status, renewal.missing()),
        (Status::Waiting, vec!["the photo"])
    );
    assert!(renewal.stored(&image("d-2")));
    assert!(!renewal.refunded("p-9") && renewal.refunded("p-1"));
    assert_eq!(
        (renewal.status, renewal.missing()),
        (Status::Waiting, vec!["the fee"])
    );
    renewal.paid(&payment("p-2", "60")).unwrap();
    assert_eq!(renewal.status, Status::InReview);
}

#[test]
fn renewal_is_decided_once_and_not_by_its_owner() {
    let mut renewal = in_review();
    let status = |outcome: Result<(), Problem>| outcome.unwrap_err().status().as_u16();
    assert_eq!(
        status(renewal.decide("alice", &ruling(Verdict::Approve))),
        403
    );
    renewal.decide("eve", &ruling(Verdict::Approve)).unwrap();
    assert_eq!(renewal.status, Status::Approved);
    assert_eq!(status(renewal.decide("eve", &ruling(Verdict::Refuse))), 409);
    assert!(!renewal.removed("d-1"));
}

#[test]
fn incomplete_renewal_is_not_approved() {
    let mut renewal = renewal(None);
    let refused = renewal
        .decide("eve", &ruling(Verdict::Approve))
        .unwrap_err();
    assert_eq!(refused.status(), 409);
    assert!(
        refused.to_string().contains("the fee, the photo"),
        "{refused}"
    );
    renewal.decide("eve", &ruling(Verdict::Refuse)).unwrap();
    assert_eq!(renewal.payment_to_refund(), None);
}

#[test]
fn refusal_gives_the_fee_back_once() {
    let mut renewal = in_review();
    renewal.decide("eve", &ruling(Verdict::Refuse)).unwrap();
    assert_eq!(renewal.payment_to_refund(), Some("p-1"));
    assert!(renewal.refunded("p-1") && !renewal.refunded("p-1"));
    assert_eq!(renewal.payment_to_refund(), None);
    assert_eq!(renewal.status, Status::Refused);
}

#[test]
fn waiting_owner_is_reminded_once() {
    let mut waiting = renewal(None);
    assert!(waiting.remind(5) && !waiting.remind(6));
    assert_eq!(waiting.reminded, Some(5));
    assert!(!in_review().remind(5));
}

#[test]
fn renewal_is_kept_as_it_is_shown() {
    let renewal = in_review();
    let shown = json!({
        "id": "r-1", "owner": "alice", "name": "Alice", "status": "in-review",
        "steps": {
            "fee": { "state": "paid", "amount": 60, "currency": "EUR",
                "reference": "passports/r-1", "payment": "p-1" },
            "photo": { "state": "stored", "document": "d-1" },
        },
        "updated": 1,
    });
    assert_eq!(serde_json::to_value(&renewal).unwrap(), shown);
    assert_eq!(serde_json::from_value::<Renewal>(shown).unwrap(), renewal);
}

#[test]
fn application_is_checked() {
    let check = |text: &str| -> Result<(), String> {
        let application: Result<Application, _> = serde_json::from_str(text);
        application.map_err(|error| error.to_string())?.check()
    };
    assert_eq!(
        check(r#"{"name":"Zoë","photo":"d-1","phone":"+15550100"}"#),
        Ok(())
    );
    for (wrong, why) in [
        (r#"{}"#, "name"),
        (r#"{"name":""}"#, "'name'"),
        (r#"{"name":"a\nb"}"#, "'name'"),
        (r#"{"name":"a","photo":""}"#, "'photo'"),
        (r#"{"name":"a","phone":"5550100"}"#, "'phone'"),
        (r#"{"name":"a","fee":1}"#, "fee"),
    ] {
        assert!(check(wrong).is_err_and(|it| it.contains(why)), "{wrong}");
    }
}

#[test]
fn payment_names_its_renewal() {
    let of = |reference: Option<Value>| {
        let mut payment = payment("p-1", "60");
        payment.reference = reference;
        payment.renewal().map(str::to_owned)
    };
    assert_eq!(of(Some(json!("passports/r-1"))).as_deref(), Some("r-1"));
    for other in [json!("passports/"), json!("parking/7"), json!(7)] {
        assert_eq!(of(Some(other)), None);
    }
    assert_eq!(of(None), None);
}
