//! Whether an event is one that a subscription wants.

use super::Filter;
use std::borrow::Cow;

/// Finds the value of an attribute of an event by its name; none where the event has none.
pub type Attributes<'a, 'v> = &'a dyn Fn(&str) -> Option<Cow<'v, str>>;

impl Filter {
    /// Whether the event whose attributes these are is wanted. An attribute that the event does not
    /// have equals nothing (CloudEvents Subscriptions API 1.0, section 3.2.4.1.1).
    pub fn matches(&self, attributes: Attributes<'_, '_>) -> bool {
        let each = |pairs: &[(String, String)], is_it: fn(&str, &str) -> bool| {
            let mut pairs = pairs.iter();
            pairs.all(|(name, wanted)| attributes(name).is_some_and(|value| is_it(&value, wanted)))
        };
        match self {
            Filter::Exact(pairs) => each(pairs, |value, wanted| value == wanted),
            Filter::Prefix(pairs) => each(pairs, |value, wanted| value.starts_with(wanted)),
            Filter::Suffix(pairs) => each(pairs, |value, wanted| value.ends_with(wanted)),
            Filter::All(filters) => filters.iter().all(|filter| filter.matches(attributes)),
            Filter::Any(filters) => filters.iter().any(|filter| filter.matches(attributes)),
            Filter::Not(filter) => !filter.matches(attributes),
        }
    }

    /// Whether it demands, by value or by beginning, that `attribute` begins with `prefix`. What is
    /// within a `not` demands nothing.
    pub(super) fn names(&self, attribute: &str, prefix: &str) -> bool {
        match self {
            Filter::Exact(pairs) | Filter::Prefix(pairs) => {
                let mut pairs = pairs.iter();
                pairs.any(|(name, wanted)| name == attribute && wanted.starts_with(prefix))
            }
            Filter::All(filters) | Filter::Any(filters) => {
                filters.iter().any(|filter| filter.names(attribute, prefix))
            }
            Filter::Suffix(_) | Filter::Not(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Event = BTreeMap<String, String>;

    fn matches(filter: &Filter, event: &Event) -> bool {
        filter.matches(&|name| event.get(name).map(|value| Cow::Borrowed(value.as_str())))
    }

    fn event(pairs: &[(&str, &str)]) -> Event {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    fn one(dialect: fn(Vec<(String, String)>) -> Filter, name: &str, value: &str) -> Filter {
        dialect(vec![(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn attribute_that_is_absent_equals_nothing_and_case_counts() {
        let paid = event(&[("type", "gov.payment.paid.v1"), ("subject", "7")]);
        for (filter, expected) in [
            (one(Filter::Exact, "type", "gov.payment.paid.v1"), true),
            (one(Filter::Exact, "type", "gov.payment.Paid.v1"), false),
            (one(Filter::Prefix, "type", "gov.payment."), true),
            (one(Filter::Suffix, "type", ".v1"), true),
            (one(Filter::Suffix, "type", ".v2"), false),
            (one(Filter::Prefix, "partitionkey", "7"), false),
        ] {
            assert_eq!(matches(&filter, &paid), expected, "{filter:?}");
            let not = Filter::Not(Box::new(filter));
            assert_eq!(matches(&not, &paid), !expected, "{not:?}");
        }
        let both = Filter::Exact(vec![
            ("type".into(), "gov.payment.paid.v1".into()),
            ("subject".into(), "8".into()),
        ]);
        assert!(!matches(&both, &paid));
    }

    fn filters() -> impl Strategy<Value = Filter> {
        let pairs = || prop::collection::vec(("[ab]", "[xy]{1,2}"), 1..3);
        let leaf = prop_oneof![
            pairs().prop_map(Filter::Exact),
            pairs().prop_map(Filter::Prefix),
            pairs().prop_map(Filter::Suffix),
        ];
        leaf.prop_recursive(4, 24, 3, |inner| {
            let list = || prop::collection::vec(inner.clone(), 1..4);
            prop_oneof![
                list().prop_map(Filter::All),
                list().prop_map(Filter::Any),
                inner
                    .clone()
                    .prop_map(|filter| Filter::Not(Box::new(filter))),
            ]
        })
    }

    proptest! {
        #[test]
        fn filters_obey_the_laws_of_logic(
            list in prop::collection::vec(filters(), 1..4),
            event in prop::collection::btree_map("[abc]", "[xy]{0,3}", 0..4),
        ) {
            let each: Vec<bool> = list.iter().map(|filter| matches(filter, &event)).collect();
            let all = Filter::All(list.clone());
            let any = Filter::Any(list.clone());
            prop_assert_eq!(matches(&all, &event), each.iter().all(|one| *one));
            prop_assert_eq!(matches(&any, &event), each.iter().any(|one| *one));
            let not = |filter: &Filter| Filter::Not(Box::new(filter.clone()));
            prop_assert_eq!(matches(&not(&all), &event), !matches(&all, &event));
            // De Morgan.
            let inverse = Filter::Any(list.iter().map(not).collect());
            prop_assert_eq!(matches(&not(&all), &event), matches(&inverse, &event));
        }

        #[test]
        fn exact_match_is_a_prefix_and_a_suffix_as_well(
            pairs in prop::collection::vec(("[ab]", "[xy]{1,2}"), 1..3),
            event in prop::collection::btree_map("[ab]", "[xy]{1,2}", 0..3),
        ) {
            if matches(&Filter::Exact(pairs.clone()), &event) {
                prop_assert!(matches(&Filter::Prefix(pairs.clone()), &event));
                prop_assert!(matches(&Filter::Suffix(pairs), &event));
            }
        }
    }
}
