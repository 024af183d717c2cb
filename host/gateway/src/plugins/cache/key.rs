//! By what a stored answer is found: all that its upstream saw of the address, and the fields that
//! the answer's `Vary` names.

use crate::request::headers::{FORWARDED_HOST, FORWARDED_PORT, FORWARDED_PROTO};
use crate::request::target::Target;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Uri};

/// The key of an answer, or of the fields on which the answers of an address depend. Compared
/// whole, so no two addresses can be taken for one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key(Box<[u8]>);

/// Between the parts. Neither a path nor a field can contain it.
const END: u8 = 0;
/// Before each value of a field.
const VALUE: u8 = 1;

impl Key {
    /// Of a request, as its upstream sees it, on the route of this version.
    ///
    /// An upstream may make links of each part of the address that it is told, whether or not its
    /// `Vary` names the field. Were one left out, a client could have its own value stored for the
    /// others.
    pub(super) fn of<B>(version: u64, target: &Target, request: &Request<B>) -> Key {
        let headers = request.headers();
        let told = |name| headers.get(name).map_or(&[][..], HeaderValue::as_bytes);
        let authority = target
            .authority()
            .map_or("", |authority| authority.as_str());
        let parts = [
            told(FORWARDED_PROTO),
            told(FORWARDED_HOST),
            told(FORWARDED_PORT),
            authority.as_bytes(),
            whole(request.uri()),
        ];
        let length = parts.iter().map(|part| part.len() + 1).sum::<usize>();
        let mut key = Vec::with_capacity(size_of::<u64>() + length);
        key.extend_from_slice(&version.to_ne_bytes());
        for part in parts {
            key.extend_from_slice(part);
            key.push(END);
        }
        Key(key.into_boxed_slice())
    }

    /// Of the answer to a request with `headers`, where answers depend on the fields `vary`.
    pub(super) fn variant(&self, vary: &[HeaderName], headers: &HeaderMap) -> Key {
        let mut key = self.0.to_vec();
        for name in vary {
            key.extend_from_slice(name.as_str().as_bytes());
            for value in headers.get_all(name) {
                key.push(VALUE);
                key.extend_from_slice(value.as_bytes());
            }
            key.push(END);
        }
        Key(key.into_boxed_slice())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn whole(uri: &Uri) -> &[u8] {
    let path = uri.path_and_query().map(|it| it.as_str());
    path.unwrap_or_default().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["", "a", "b", "a.b", "ab"]).prop_map(str::to_owned)
    }

    fn parts() -> impl Strategy<Value = (u64, Vec<String>)> {
        (0..3_u64, prop::collection::vec(part(), 4))
    }

    fn key((version, parts): &(u64, Vec<String>)) -> Key {
        let mut request = Request::new(());
        *request.uri_mut() = format!("/{}", parts[0]).parse().unwrap();
        let names = [FORWARDED_PROTO, FORWARDED_HOST, FORWARDED_PORT];
        for (name, value) in names.into_iter().zip(&parts[1..]) {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        Key::of(*version, &Target::default(), &request)
    }

    fn fields() -> impl Strategy<Value = Vec<(usize, String)>> {
        prop::collection::vec((0..2_usize, "[ab, ]{0,3}"), 0..4)
    }

    const NAMES: [&str; 2] = ["x-a", "x-b"];

    fn headers(fields: &[(usize, String)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(NAMES[*name], value.parse().unwrap());
        }
        headers
    }

    proptest! {
        /// Two that differ in one part, whichever, and two that may differ in all.
        #[test]
        fn keys_are_equal_for_equal_addresses_alone(
            one in parts(), other in parts(), at in 0..4_usize, changed in part(),
        ) {
            prop_assert_eq!(key(&one) == key(&other), one == other);
            let mut near = one.clone();
            near.1[at] = changed;
            prop_assert_eq!(key(&one) == key(&near), one == near);
            let newer = (one.0 + 1, one.1.clone());
            prop_assert_ne!(key(&one), key(&newer));
        }

        #[test]
        fn variants_are_equal_for_equal_fields_alone(one in fields(), other in fields()) {
            let vary = NAMES.map(HeaderName::from_static);
            let address = key(&(1, vec![String::new(); 4]));
            let (one, other) = (headers(&one), headers(&other));
            let same = NAMES.iter().all(|name| {
                one.get_all(*name).iter().eq(other.get_all(*name).iter())
            });
            let variant = |headers| address.variant(&vary, headers);
            prop_assert_eq!(variant(&one) == variant(&other), same);
            prop_assert_ne!(variant(&one), address.clone());
            // Of one list of names no variant is taken for one of another list.
            prop_assert_ne!(address.variant(&vary[..1], &one), variant(&one));
        }
    }
}
