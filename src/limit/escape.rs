//! The characters of limit keys, and `%XX` escapes of all others, so that any text can fill one segment of a key.
//!
//! A segment has one spelling: only the bytes that must be escaped are escaped, in upper-case hexadecimal digits. Without
//! this rule one tenant would have several limits.

use std::fmt::Write;

use super::key_error::KeyError;

/// Spells any text as one segment of a limit key: the value of a placeholder.
///
/// Letters, digits and `. _ / @ + = -` stay. Each other byte becomes `%` and two upper-case hexadecimal digits, also the
/// bytes of a `:`, which would otherwise end the segment. Different texts have different spellings. A key must begin with
/// a letter or a digit, so put some text of your own in front of the first value.
///
/// ```
/// use ledger_limiter::limit::{LimitKey, escape_segment};
///
/// assert_eq!(escape_segment("2001:db8::1"), "2001%3Adb8%3A%3A1");
/// assert_eq!(escape_segment("o'brien@example.com"), "o%27brien@example.com");
/// assert!(LimitKey::parse(&format!("user:{}:daily", escape_segment("auth0|é"))).is_ok());
/// ```
pub fn escape_segment(value: &str) -> String {
    let mut spelled = String::with_capacity(value.len());
    value.bytes().for_each(|byte| push(&mut spelled, byte));
    spelled
}

/// Refuses escapes that are not the only spelling of their byte.
pub(super) fn check_escapes(text: &str) -> Result<(), KeyError> {
    let mut canonical = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('%') {
        let digits = escape.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let (Some(digits), Some(after)) = (digits, escape.get(2..)) else { return Err(KeyError::BadEscape) };
        let byte = u8::from_str_radix(digits, 16).map_err(|_| KeyError::BadEscape)?;
        canonical.push_str(plain);
        push(&mut canonical, byte);
        rest = after;
    }
    canonical.push_str(rest);
    if canonical == text { Ok(()) } else { Err(KeyError::OtherSpelling(canonical)) }
}

/// Checks the characters of a text whose escapes are good.
pub(super) fn check_characters(text: &str) -> Result<(), KeyError> {
    let bad = text.chars().find(|&c| c != '%' && !is_key_character(c));
    bad.map_or(Ok(()), |bad| Err(KeyError::BadCharacter(bad)))
}

/// Whether a key holds this character without an escape.
fn is_key_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '_' | '/' | '@' | '+' | '=' | '-')
}

/// Spells a byte of a segment.
fn push(spelled: &mut String, byte: u8) {
    let plain = char::from(byte);
    let is_plain = plain != ':' && is_key_character(plain);
    let wrote = if is_plain { spelled.write_char(plain) } else { write!(spelled, "%{byte:02X}") };
    debug_assert_eq!(wrote, Ok(()), "writing to a string succeeds");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{KeyTemplate, LimitKey};

    #[test]
    fn any_text_fills_one_placeholder() {
        let daily = LimitKey::parse_name("user:{user}:daily").expect("a template");
        let daily = KeyTemplate::of(&daily).expect("a template");
        for (text, segment) in [
            ("2001:db8::1", "2001%3Adb8%3A%3A1"),
            ("user:ann", "user%3Aann"),
            ("auth0|x", "auth0%7Cx"),
            ("o'brien@example.com", "o%27brien@example.com"),
            ("é", "%C3%A9"),
            ("100%", "100%25"),
            ("user%3Aann", "user%253Aann"),
            ("{user*}", "%7Buser%2A%7D"),
            ("\0 \u{7f}", "%00%20%7F"),
            ("A-z0/9.b_c@d+e=f", "A-z0/9.b_c@d+e=f"),
        ] {
            assert_eq!(escape_segment(text), segment, "{text}");
            let key = LimitKey::parse(&format!("user:{segment}:daily")).expect("a valid key");
            assert!(daily.matches(&key), "{text}");
        }
    }

    #[test]
    fn every_byte_has_one_spelling() {
        for byte in 0..=u8::MAX {
            let escaped = format!("a%{byte:02X}");
            let plain = char::from(byte);
            let needs_escape = plain == ':' || !is_key_character(plain);
            let expected =
                if needs_escape { Ok(()) } else { Err(KeyError::OtherSpelling(format!("a{plain}"))) };
            assert_eq!(LimitKey::parse(&escaped).map(drop), expected, "{escaped}");
        }
    }

    #[test]
    fn other_spellings_are_refused_with_the_one_that_is_taken() {
        for (text, canonical) in [
            ("user%3aann:rpm", "user%3Aann:rpm"),
            ("a%2Fb%c3%A9", "a/b%C3%A9"),
            ("%41bc", "Abc"),
            ("{user}:%7e%41", "{user}:%7EA"),
        ] {
            let refused = KeyError::OtherSpelling(canonical.to_owned());
            assert_eq!(LimitKey::parse_name(text), Err(refused), "{text}");
        }
        for text in ["a%", "a%4", "a%4g", "a%é9", "a%%41", "{a}:%zz"] {
            assert_eq!(LimitKey::parse_name(text), Err(KeyError::BadEscape), "{text}");
        }
        assert_eq!(LimitKey::parse("%C3%A9"), Err(KeyError::BadStart('%')));
        assert_eq!(LimitKey::parse_name("%C3%A9:{a}"), Err(KeyError::BadStart('%')));
    }
}
