//! The examples of docs/admin-api.md are read and written: each name there is one here.

use super::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../../docs/admin-api.md");

/// How an example is read and written again.
type RoundTrip = fn(&str) -> Result<Value, serde_json::Error>;

fn round_trip<T: DeserializeOwned + Serialize>(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_str::<T>(text)?)
}

/// Everything that goes over the API. What is inside of these is shown in their examples.
const TYPES: [(&str, RoundTrip); 39] = [
    (
        "Changed<ChangedSubscription>",
        round_trip::<Changed<ChangedSubscription>>,
    ),
    (
        "Changed<ChangedWindow>",
        round_trip::<Changed<ChangedWindow>>,
    ),
    (
        "Changed<DroppedEvents>",
        round_trip::<Changed<DroppedEvents>>,
    ),
    ("Changed<Limits>", round_trip::<Changed<Limits>>),
    (
        "Changed<RemovedGrants>",
        round_trip::<Changed<RemovedGrants>>,
    ),
    ("Changed<RemovedRoute>", round_trip::<Changed<RemovedRoute>>),
    (
        "Changed<RemovedWindow>",
        round_trip::<Changed<RemovedWindow>>,
    ),
    ("Changed<Replayed>", round_trip::<Changed<Replayed>>),
    (
        "Changed<RetriedEvents>",
        round_trip::<Changed<RetriedEvents>>,
    ),
    ("Changed<RevokedKey>", round_trip::<Changed<RevokedKey>>),
    ("Changed<RunSchedule>", round_trip::<Changed<RunSchedule>>),
    ("CreatedKey", round_trip::<CreatedKey>),
    ("DeployLine", round_trip::<DeployLine>),
    ("Deployed", round_trip::<Deployed>),
    ("Event", round_trip::<Event>),
    ("EventList", round_trip::<EventList>),
    ("GrantsDetail", round_trip::<GrantsDetail>),
    ("GrantsList", round_trip::<GrantsList>),
    ("Health", round_trip::<Health>),
    ("KeyList", round_trip::<KeyList>),
    ("LimitsPatch", round_trip::<LimitsPatch>),
    ("LogLines", round_trip::<LogLines>),
    ("NewKey", round_trip::<NewKey>),
    ("ParkedList", round_trip::<ParkedList>),
    ("Problem", round_trip::<Problem>),
    ("ReplayRequest", round_trip::<ReplayRequest>),
    ("RequestList", round_trip::<RequestList>),
    ("RequestTrace", round_trip::<RequestTrace>),
    ("RouteDetail", round_trip::<RouteDetail>),
    ("RouteList", round_trip::<RouteList>),
    ("ScheduleList", round_trip::<ScheduleList>),
    ("ShownLimits", round_trip::<ShownLimits>),
    ("StoreBuckets", round_trip::<StoreBuckets>),
    ("StoreKeys", round_trip::<StoreKeys>),
    ("StoreValue", round_trip::<StoreValue>),
    ("SubscriptionList", round_trip::<SubscriptionList>),
    ("SubscriptionStatus", round_trip::<SubscriptionStatus>),
    ("WindowDetail", round_trip::<WindowDetail>),
    ("WindowList", round_trip::<WindowList>),
];

/// The examples of the page: the name of the type, and the JSON.
fn examples() -> Vec<(&'static str, &'static str)> {
    let blocks = PAGE.split("```json ").skip(1);
    let example = |block: &'static str| {
        let (name, rest) = block.split_once('\n')?;
        Some((name, rest.split_once("```")?.0))
    };
    blocks.map(|block| example(block).unwrap()).collect()
}

/// Gives every object one more field.
fn with_unknown_fields(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(with_unknown_fields),
        Value::Object(members) => {
            members.values_mut().for_each(with_unknown_fields);
            // Objects of names and numbers have no fields.
            let is_map = members.values().all(Value::is_number);
            if !is_map {
                members.insert("of-a-newer-host".into(), json!({"a": [1]}));
            }
        }
        _ => {}
    }
}

#[test]
fn examples_of_the_page_are_written_as_they_are_read() {
    let mut shown = BTreeSet::new();
    for (name, text) in examples() {
        let (_, round_trip) = TYPES.iter().find(|(known, _)| *known == name).unwrap();
        let example: Value = serde_json::from_str(text).unwrap();
        let written = round_trip(text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        assert_eq!(written, example, "{name}");
        shown.insert(name);
    }
    let all = TYPES.iter().map(|(name, _)| *name).collect();
    assert_eq!(shown, all, "docs/admin-api.md has an example of each type");
}

#[test]
fn fields_of_a_newer_host_are_ignored_but_in_requests() {
    for (name, text) in examples() {
        let (_, round_trip) = TYPES.iter().find(|(known, _)| *known == name).unwrap();
        let example: Value = serde_json::from_str(text).unwrap();
        let mut newer = example.clone();
        with_unknown_fields(&mut newer);
        let read = round_trip(&newer.to_string());
        match name {
            "NewKey" => assert!(read.is_err(), "{name}"),
            "LimitsPatch" | "ReplayRequest" => assert!(read.is_err(), "{name}"),
            _ => assert_eq!(read.unwrap(), example, "{name}"),
        }
    }
}

#[test]
fn unknown_word_is_kept() {
    for word in ["open", "half-open", "hibernating"] {
        let state: WindowState = serde_json::from_value(json!(word)).unwrap();
        assert_eq!(state.as_str(), word);
        assert_eq!(state.to_string(), word);
        assert_eq!(json!(state), json!(word));
    }
    let state: WindowState = serde_json::from_value(json!("half-open")).unwrap();
    assert_eq!(state, WindowState::HalfOpen);
}

#[test]
fn unknown_line_of_progress_is_told_from_a_broken_one() {
    let read = |text: &str| serde_json::from_str::<DeployLine>(text);
    let unknown = read(r#"{"replicated": 3}"#).unwrap();
    assert_eq!(unknown, DeployLine::Unknown {});
    let broken = read(r#"{"deployed": {"window": "w"}}"#).unwrap_err();
    assert!(broken.to_string().contains("release"), "{broken}");
}

#[test]
fn created_key_is_not_in_its_debug_text() {
    let example = examples()
        .into_iter()
        .find(|(name, _)| *name == "CreatedKey");
    let key: CreatedKey = serde_json::from_str(example.unwrap().1).unwrap();
    assert!(!format!("{key:?}").contains("SECRET"), "{key:?}");
}
