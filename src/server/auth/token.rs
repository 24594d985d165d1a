//! Tokens that this program makes: random, and stored only as their SHA-256.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore;
use rand::rand_core::OsError;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What every token begins with, so that people and scanners of leaked secrets recognise one.
const PREFIX: &str = "rl_";
/// 256 random bits: nobody guesses them, so a fast hash protects them as well as a slow one would.
const RANDOM_BYTES: usize = 32;
/// The length of the random bytes in base64, without padding.
const RANDOM_TEXT_BYTES: usize = 43;

/// A token in the clear. Its holder is whoever knows it; [`Debug`](fmt::Debug) does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// The SHA-256 of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenDigest([u8; 32]);

impl Token {
    /// Makes a new token.
    ///
    /// # Errors
    ///
    /// The operating system gives no random numbers.
    pub fn generate() -> Result<Self, OsError> {
        let mut random = [0; RANDOM_BYTES];
        OsRng.try_fill_bytes(&mut random)?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random))))
    }

    /// The token as text. Show it to its holder only.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The SHA-256 of the token's text.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Whether a text has the form of a token.
pub(super) fn is_token(text: &[u8]) -> bool {
    let random = text.strip_prefix(PREFIX.as_bytes());
    random.is_some_and(|random| {
        let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        random.len() == RANDOM_TEXT_BYTES && random.iter().all(is_base64)
    })
}

impl TokenDigest {
    /// The digest of a text.
    pub(super) fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Reads 64 hexadecimal digits; `None` if the text is something else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The first bytes, by which a table finds the digest. They tell nothing of the token.
    pub(super) fn index(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// Compares in a time that does not depend on where the digests differ.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_has_the_form_of_a_token_and_differs_from_others() {
        let [token, other] = [(); 2].map(|()| Token::generate().expect("random numbers"));
        assert!(is_token(token.reveal().as_bytes()));
        assert_ne!(token, other);
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn only_prefix_and_random_text_are_a_token() {
        let random = "A".repeat(43);
        assert!(is_token(format!("rl_{random}").as_bytes()));
        for other in [
            "",
            "rl_",
            &random,
            &format!("rl_{random}A"),
            &format!("RL_{random}"),
            &format!("rl_{}=", "A".repeat(42)),
        ] {
            assert!(!is_token(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_digest_is_the_sha_256_as_64_hexadecimal_digits() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let digest = TokenDigest::of(b"");
        assert_eq!(digest.to_string(), empty);
        assert!(TokenDigest::parse(&empty.to_uppercase()).is_some_and(|parsed| parsed.is_same(&digest)));
        assert!(!TokenDigest::of(b"x").is_same(&digest));
        for other in ["", &empty[1..], &format!("{}+f", &empty[2..]), &"é".repeat(32)] {
            assert_eq!(TokenDigest::parse(other), None, "{other}");
        }
    }
}
