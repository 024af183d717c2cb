//! What events of other windows say to a citizen.

use crate::message::is_phone_number;
use hms_window::Problem;
use serde::Deserialize;
use serde_json::Value;

/// Characters of a text that somebody else has chosen: room for the rest in a text message of 160.
const QUOTED_CHARS: usize = 90;

/// The data of an event, as far as it is told. What citizens have sent can have any shape.
#[derive(Deserialize)]
pub struct EventData {
    id: String,
    owner: String,
    phone: Option<Value>,
    amount: Option<Value>,
    currency: Option<Value>,
    purpose: Option<Value>,
    name: Option<Value>,
    reason: Option<Value>,
    #[serde(default)]
    missing: Vec<String>,
}

/// What is to be told, and to whom.
#[derive(Debug, PartialEq, Eq)]
pub struct News {
    pub owner: String,
    /// Where they want a text message.
    pub phone: Option<String>,
    pub text: String,
    /// The id of what it is about.
    pub reference: String,
}

type Text = fn(&EventData) -> String;

const TOLD: [(&str, Text); 7] = [
    ("gov.payment.paid.v1", |it| {
        format!("We have received your payment{}.", payment(it))
    }),
    ("gov.payment.refunded.v1", |it| {
        format!("We have refunded your payment{}.", payment(it))
    }),
    ("gov.document.stored.v1", |it| {
        format!("Your document{} is stored.", spaced(&it.name))
    }),
    ("gov.document.removed.v1", |it| {
        format!("Your document{} was removed.", spaced(&it.name))
    }),
    ("gov.passport.incomplete.v1", |it| {
        format!(
            "Your passport renewal still needs: {}.",
            it.missing.join(", ")
        )
    }),
    ("gov.passport.approved.v1", |_| {
        "Your passport renewal is approved.".to_owned()
    }),
    ("gov.passport.refused.v1", |it| match quoted(&it.reason) {
        Some(reason) => format!("Your passport renewal was refused: {reason}."),
        None => "Your passport renewal was refused.".to_owned(),
    }),
];

impl News {
    /// None: nothing is told of events of the type `kind`, whatever their data.
    pub fn of(
        kind: &str,
        data: impl FnOnce() -> Result<EventData, Problem>,
    ) -> Result<Option<Self>, Problem> {
        let Some((_, text)) = TOLD.iter().find(|(known, _)| *known == kind) else {
            return Ok(None);
        };
        let told = data()?;
        let text = text(&told);
        let phone = match told.phone {
            Some(Value::String(phone)) if is_phone_number(&phone) => Some(phone),
            _ => None,
        };
        Ok(Some(News {
            owner: told.owner,
            phone,
            text,
            reference: told.id,
        }))
    }
}

/// ` of 42 EUR: FOIA copy fee`
fn payment(told: &EventData) -> String {
    let mut text = String::new();
    if let Some(amount @ Value::Number(_)) = &told.amount {
        text.push_str(&format!(" of {amount}{}", spaced(&told.currency)));
    }
    if let Some(purpose) = quoted(&told.purpose) {
        text.push_str(&format!(": {purpose}"));
    }
    text
}

fn spaced(value: &Option<Value>) -> String {
    quoted(value).map_or_else(String::new, |text| format!(" {text}"))
}

/// A text, cut where it is too long.
fn quoted(value: &Option<Value>) -> Option<String> {
    let text = value.as_ref()?.as_str().filter(|text| !text.is_empty())?;
    Some(text.chars().take(QUOTED_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn news(kind: &str, mut data: Value) -> Option<News> {
        data["id"] = json!("7");
        data["owner"] = json!("alice");
        // As it comes: from text.
        News::of(
            kind,
            || Ok(serde_json::from_str(&data.to_string()).unwrap()),
        )
        .unwrap()
    }

    fn text(kind: &str, data: Value) -> String {
        news(kind, data).unwrap().text
    }

    #[test]
    fn payment_is_told_with_its_digits_and_a_short_purpose() {
        let paid = json!({ "amount": 1, "currency": "EUR", "purpose": "FOIA copy fee" });
        let paid = paid
            .to_string()
            .replace(":1,", ":42.10,")
            .replace(":1}", ":42.10}");
        let paid: Value = serde_json::from_str(&paid).unwrap();
        assert_eq!(
            text("gov.payment.paid.v1", paid.clone()),
            "We have received your payment of 42.10 EUR: FOIA copy fee."
        );
        assert_eq!(
            text("gov.payment.refunded.v1", paid),
            "We have refunded your payment of 42.10 EUR: FOIA copy fee."
        );
        let long = json!({ "amount": 1, "currency": "EUR", "purpose": "ü".repeat(500) });
        assert!(text("gov.payment.paid.v1", long).chars().count() <= 160);
        let bare = json!({ "amount": 0, "purpose": ["odd"] });
        assert_eq!(
            text("gov.payment.paid.v1", bare),
            "We have received your payment of 0."
        );
    }

    #[test]
    fn documents_and_passports_are_told() {
        for (kind, data, told) in [
            (
                "gov.document.stored.v1",
                json!({ "name": "me.jpg" }),
                "Your document me.jpg is stored.",
            ),
            (
                "gov.document.removed.v1",
                json!({ "name": "me.jpg" }),
                "Your document me.jpg was removed.",
            ),
            (
                "gov.passport.incomplete.v1",
                json!({ "missing": ["fee", "photo"] }),
                "Your passport renewal still needs: fee, photo.",
            ),
            (
                "gov.passport.approved.v1",
                json!({}),
                "Your passport renewal is approved.",
            ),
            (
                "gov.passport.refused.v1",
                json!({ "reason": "photo too dark" }),
                "Your passport renewal was refused: photo too dark.",
            ),
            (
                "gov.passport.refused.v1",
                json!({}),
                "Your passport renewal was refused.",
            ),
        ] {
            assert_eq!(text(kind, data), told);
        }
        assert_eq!(news("gov.passport.fee-rejected.v1", json!({})), None);
    }

    #[test]
    fn only_a_phone_number_gets_a_text_message() {
        let phone = |phone: Value| {
            let told = json!({ "amount": 1, "phone": phone });
            news("gov.payment.paid.v1", told).unwrap().phone
        };
        assert_eq!(phone(json!("+15550100")).as_deref(), Some("+15550100"));
        for other in [json!("call me"), json!(15550100), json!(null)] {
            assert_eq!(phone(other.clone()), None, "{other}");
        }
    }
}
