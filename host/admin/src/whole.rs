//! Reads the whole of a short request body.

use hms_core::body::Body;
use http_body_util::BodyExt;

/// The bytes of `body`, at most `limit`.
///
/// # Errors
/// Why it could not be read, as a sentence.
pub(super) async fn whole(mut body: Body, limit: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| error.to_string())?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if data.len() > limit - bytes.len() {
            return Err(format!("it is larger than {limit} bytes"));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_core::body;

    #[tokio::test]
    async fn body_is_read_up_to_its_limit() {
        assert_eq!(whole(body::full("12345"), 5).await.unwrap(), b"12345");
        assert_eq!(whole(body::empty(), 0).await.unwrap(), b"");
        assert!(
            whole(body::full("12345"), 4)
                .await
                .unwrap_err()
                .contains("4 bytes")
        );
    }
}
