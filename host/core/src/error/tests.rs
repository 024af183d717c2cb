//! What clients are told, and what not.

use super::*;

/// What no client may read: as a guest, a service or the system could have said it.
const PRIVATE: &str = "open /srv/secret: token=hunter2 at 10.9.8.7:5432 (os error 111)";

#[test]
fn private_cause_reaches_the_log_but_no_client() {
    for row in TABLE {
        let error = RequestError::new(row.problem, "a plain sentence").with_cause(PRIVATE);
        let answer = error.answer(Some("id"));
        let public = format!(
            "{error} {} {:?}",
            String::from_utf8_lossy(answer.body()),
            answer.headers()
        );
        assert!(!public.contains("secret"), "{public}");
        assert!(error.in_full().contains(PRIVATE), "{}", error.in_full());
    }
    let internal = RequestError::internal(PRIVATE);
    assert!(!internal.to_string().contains("secret"), "{internal}");
    assert_eq!(internal.cause(), Some(PRIVATE));
}

#[test]
fn every_row_of_the_table_is_a_valid_answer() {
    for row in TABLE {
        let plain = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(row.code.chars().all(plain), "{row:?}");
        assert!(
            !row.title.is_empty() && !row.title.ends_with('.'),
            "{row:?}"
        );
        assert_eq!(row.problem.status().as_u16(), row.status, "{row:?}");
        assert_eq!(row.problem.row(), *row);
        // A 4xx blames the client, but where the host lost what it knew of a key.
        let lost = row.status == 409 && row.fault == Fault::Host;
        let blamed = (400..500).contains(&row.status) && !lost;
        assert_eq!(row.fault == Fault::Client, blamed, "{row:?}");
    }
}

#[test]
fn retry_after_follows_the_table_and_is_rounded_up() {
    for row in TABLE {
        let error = RequestError::new(row.problem, "a plain sentence");
        let error = error.with_retry_after(Duration::from_millis(1_001));
        let sent = error.answer(None).headers().get("retry-after").cloned();
        let sent = sent.map(|value| value.to_str().unwrap().parse::<u64>().unwrap());
        let expected = match row.retry_after {
            RetryAfter::No => None,
            RetryAfter::Seconds(seconds) => Some(seconds),
            RetryAfter::Known => Some(2),
        };
        assert_eq!(sent, expected, "{row:?}");
        // What surely was not done for lack of something at the host may be sent again.
        if row.status == 503 && row.problem.never_ran() {
            assert_ne!(row.retry_after, RetryAfter::No, "{row:?}");
        }
    }
}

#[test]
fn request_error_is_one_pointer() {
    assert_eq!(size_of::<RequestError>(), size_of::<usize>());
}
