//! A renewal, and what happens to it. Nothing here knows the store or the host.

use crate::settings::Settings;
use hms_window::Problem;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

const NAME_CHARS: usize = 200;
const REASON_CHARS: usize = 500;
const ID_BYTES: usize = 200;

/// What an applicant sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// As it will stand in the passport.
    pub name: String,
    /// The id of a document, stored or to be stored; none: the next image that they store.
    pub photo: Option<String>,
    /// Where they want text messages.
    pub phone: Option<String>,
}

impl Application {
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let chars = self.name.chars().count();
        if !(1..=NAME_CHARS).contains(&chars) || self.name.chars().any(char::is_control) {
            return Err(format!(
                "'name' is not a text of 1 to {NAME_CHARS} characters"
            ));
        }
        let is_id = |id: &String| (1..=ID_BYTES).contains(&id.len());
        if !self.photo.as_ref().is_none_or(is_id) {
            return Err("'photo' is not the id of a document".into());
        }
        match &self.phone {
            Some(phone) if !is_phone_number(phone) => {
                Err("'phone' is not a phone number such as +15550100".into())
            }
            _ => Ok(()),
        }
    }
}

/// ITU-T E.164.
fn is_phone_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (7..=15).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0')
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// For the fee, the photo, or both.
    Waiting,
    /// For a decision.
    InReview,
    Approved,
    Refused,
}

/// A renewal as it is kept and shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Renewal {
    pub id: String,
    pub owner: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    pub status: Status,
    pub steps: Steps,
    /// When the applicant was reminded, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reminded: Option<u64>,
    /// When it last changed, in milliseconds since 1970.
    pub updated: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Steps {
    pub fee: Fee,
    pub photo: Photo,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeeState {
    Due,
    Paid,
    Refunded,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fee {
    pub state: FeeState,
    pub amount: Number,
    pub currency: String,
    /// What the payment has to have as its `reference`.
    pub reference: String,
    /// The id of the payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhotoState {
    Missing,
    Stored,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Photo {
    pub state: PhotoState,
    /// The id of the document, that is stored or waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Approve,
    Refuse,
}

/// What an official sends.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ruling {
    pub decision: Verdict,
    pub reason: Option<String>,
}

impl Ruling {
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        match &self.reason {
            Some(reason) if reason.chars().count() > REASON_CHARS => {
                Err(format!("'reason' has more than {REASON_CHARS} characters"))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    pub verdict: Verdict,
    pub by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What `gov.payment.paid.v1` and `gov.payment.refunded.v1` say.
#[derive(Debug, Clone, Deserialize)]
pub struct Payment {
    pub id: String,
    pub owner: String,
    pub amount: Number,
    /// Whatever its owner has sent.
    pub reference: Option<Value>,
}

impl Payment {
    /// The renewal that it is for.
    pub fn renewal(&self) -> Option<&str> {
        let id = self.reference.as_ref()?.as_str()?.strip_prefix(REFERENCE)?;
        (1..=ID_BYTES).contains(&id.len()).then_some(id)
    }
}

/// What `gov.document.stored.v1` and `gov.document.removed.v1` say.
#[derive(Debug, Clone, Deserialize)]
pub struct Document {
    pub id: String,
    pub owner: String,
    pub content_type: String,
}

/// What the reference of a fee begins with; the renewal's id follows.
const REFERENCE: &str = "passports/";

impl Renewal {
    pub fn new(
        id: &str,
        owner: &str,
        application: &Application,
        settings: &Settings,
        now_ms: u64,
    ) -> Self {
        Renewal {
            id: id.to_owned(),
            owner: owner.to_owned(),
            name: application.name.clone(),
            phone: application.phone.clone(),
            status: Status::Waiting,
            steps: Steps {
                fee: Fee {
                    state: FeeState::Due,
                    amount: settings.fee.clone(),
                    currency: settings.currency.clone(),
                    reference: format!("{REFERENCE}{id}"),
                    payment: None,
                },
                photo: Photo {
                    state: PhotoState::Missing,
                    document: application.photo.clone(),
                },
                decision: None,
            },
            reminded: None,
            updated: now_ms,
        }
    }

    /// Takes a payment for the fee.
    ///
    /// # Errors
    /// Why it is not taken, and has to be given back.
    pub fn paid(&mut self, payment: &Payment) -> Result<(), String> {
        if self.steps.fee.payment.as_ref() == Some(&payment.id) {
            // A replay.
            return Ok(());
        }
        if self.is_decided() {
            return Err("the renewal was decided".into());
        }
        let fee = &mut self.steps.fee;
        if payment.owner != self.owner {
            return Err("only the applicant can pay the fee".into());
        }
        if fee.state == FeeState::Paid {
            return Err("the fee was paid before".into());
        }
        if payment.amount.as_f64() != fee.amount.as_f64() {
            return Err(format!("the fee is {} {}", fee.amount, fee.currency));
        }
        fee.state = FeeState::Paid;
        fee.payment = Some(payment.id.clone());
        self.settle();
        Ok(())
    }

    /// The payment was given back: because this was refused, or because its owner took it back.
    /// False: it was not this fee.
    pub fn refunded(&mut self, payment: &str) -> bool {
        let fee = &mut self.steps.fee;
        if fee.state != FeeState::Paid || fee.payment.as_deref() != Some(payment) {
            return false;
        }
        fee.state = FeeState::Refunded;
        self.settle();
        true
    }

    /// Takes an image as the photo, if it waits for one. False: it does not, or not for this one.
    pub fn stored(&mut self, document: &Document) -> bool {
        let photo = &mut self.steps.photo;
        let is_awaited = photo.state == PhotoState::Missing
            && photo.document.as_ref().is_none_or(|id| *id == document.id)
            && document.content_type.starts_with("image/")
            && document.owner == self.owner;
        if self.is_decided() || !is_awaited {
            return false;
        }
        let photo = &mut self.steps.photo;
        photo.state = PhotoState::Stored;
        photo.document = Some(document.id.clone());
        self.settle();
        true
    }

    /// The photo was removed before there was a decision. False: it was not this photo.
    pub fn removed(&mut self, document: &str) -> bool {
        let photo = &mut self.steps.photo;
        if photo.document.as_deref() != Some(document) || self.is_decided() {
            return false;
        }
        let photo = &mut self.steps.photo;
        photo.state = PhotoState::Missing;
        photo.document = None;
        self.settle();
        true
    }

    /// Decides. A refusal needs neither fee nor photo.
    ///
    /// # Errors
    /// 403 for the applicant, 409 where it was decided or cannot be approved yet.
    pub fn decide(&mut self, by: &str, ruling: &Ruling) -> Result<(), Problem> {
        if by == self.owner {
            let detail = "nobody decides on their own renewal";
            return Err(Problem::new(403, "own-renewal", detail));
        }
        if self.is_decided() {
            return Err(Problem::new(409, "decided", "this renewal was decided"));
        }
        self.status = match (ruling.decision, self.status) {
            (Verdict::Refuse, _) => Status::Refused,
            (Verdict::Approve, Status::InReview) => Status::Approved,
            (Verdict::Approve, _) => {
                let detail = format!("still missing: {}", self.missing().join(", "));
                return Err(Problem::new(409, "incomplete", detail));
            }
        };
        self.steps.decision = Some(Decision {
            verdict: ruling.decision,
            by: by.to_owned(),
            reason: ruling.reason.clone(),
        });
        Ok(())
    }

    /// Whether the applicant is to be reminded now. Once is enough.
    pub fn remind(&mut self, now_ms: u64) -> bool {
        let is_due = self.status == Status::Waiting && self.reminded.is_none();
        if is_due {
            self.reminded = Some(now_ms);
        }
        is_due
    }

    /// What it waits for.
    pub fn missing(&self) -> Vec<&'static str> {
        let fee = (self.steps.fee.state != FeeState::Paid).then_some("the fee");
        let photo = (self.steps.photo.state != PhotoState::Stored).then_some("the photo");
        fee.into_iter().chain(photo).collect()
    }

    /// The payment that a refusal gives back.
    pub fn payment_to_refund(&self) -> Option<&str> {
        let fee = &self.steps.fee;
        let is_paid = fee.state == FeeState::Paid;
        fee.payment.as_deref().filter(|_| is_paid)
    }

    pub fn is_decided(&self) -> bool {
        matches!(self.status, Status::Approved | Status::Refused)
    }

    /// The status follows from fee and photo, until there is a decision.
    fn settle(&mut self) {
        if !self.is_decided() {
            self.status = match self.missing().is_empty() {
                true => Status::InReview,
                false => Status::Waiting,
            };
        }
    }
}

#[cfg(test)]
mod tests;
