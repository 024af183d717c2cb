//! The template of a header: text with the names of secrets in braces.

use crate::outbound::TemplatePart;
use http::HeaderValue;

/// Reads `Bearer {card-key}`; `{{` and `}}` are braces of the text. `declared` checks a secret's
/// name.
pub(super) fn parse(
    text: &str,
    declared: impl Fn(&str) -> Result<String, String>,
) -> Result<Vec<TemplatePart>, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            plain.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            plain.push('}');
            rest = after;
        } else if let Some((name, after)) = from.strip_prefix('{').and_then(|f| f.split_once('}')) {
            if !plain.is_empty() {
                parts.push(TemplatePart::Text(std::mem::take(&mut plain)));
            }
            parts.push(TemplatePart::Secret(declared(name)?));
            rest = after;
        } else {
            return Err("unmatched brace: write '{{' or '}}' for the character".into());
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(TemplatePart::Text(plain));
    }
    for part in &parts {
        if let TemplatePart::Text(text) = part
            && HeaderValue::from_str(text).is_err()
        {
            return Err("a header's value has no control characters".into());
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any(name: &str) -> Result<String, String> {
        Ok(name.to_owned())
    }

    fn text(text: &str) -> TemplatePart {
        TemplatePart::Text(text.to_owned())
    }

    #[test]
    fn template_is_text_and_secrets_in_order() {
        let secret = |name: &str| TemplatePart::Secret(name.to_owned());
        assert_eq!(
            parse("Bearer {k}", any),
            Ok(vec![text("Bearer "), secret("k")])
        );
        assert_eq!(
            parse("{a}{b}x", any),
            Ok(vec![secret("a"), secret("b"), text("x")])
        );
        assert_eq!(parse("{{a}}", any), Ok(vec![text("{a}")]));
        assert_eq!(parse("", any), Ok(vec![]));
        assert!(parse("Bearer {k", any).is_err() && parse("k}", any).is_err());
        assert!(parse("a\nb", any).is_err());
        assert_eq!(parse("{k}", |_| Err("no".into())), Err("no".into()));
    }

    proptest! {
        #[test]
        fn text_with_its_braces_doubled_reads_as_itself(original in "[ -~]{0,40}") {
            let doubled = original.replace('{', "{{").replace('}', "}}");
            let parts = parse(&doubled, any).unwrap();
            let read: String = parts.iter().map(|part| match part {
                TemplatePart::Text(text) => text.as_str(),
                TemplatePart::Secret(_) => "?",
            }).collect();
            prop_assert_eq!(read, original);
        }
    }
}
