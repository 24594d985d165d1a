//! The signature of an event, from which its receiver sees that it is from here, and new.

use std::fmt;
use std::fmt::Write as _;
use std::path::Path;

use ring::hmac;

use super::AlertsError;

/// The shortest secret. A text that people can guess proves nothing.
const SECRET_BYTES_MIN: usize = 16;

/// Signs events with HMAC-SHA256.
#[derive(Clone)]
pub(super) struct Signer(hmac::Key);

impl Signer {
    /// With the secret in a file. The end of its last line is not part of it.
    pub(super) fn read(path: &Path) -> Result<Self, AlertsError> {
        let read = |source| AlertsError::ReadSecret { path: path.to_owned(), source };
        let content = std::fs::read(path).map_err(read)?;
        let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let length = content.iter().rposition(|byte| !is_end(byte)).map_or(0, |last| last + 1);
        if length < SECRET_BYTES_MIN {
            return Err(AlertsError::ShortSecret { path: path.to_owned(), bytes_min: SECRET_BYTES_MIN });
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &content[..length])))
    }

    /// The header of a body that is sent at this time, in seconds since the Unix epoch.
    pub(super) fn header(&self, at_unix_seconds: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{at_unix_seconds}.").as_bytes());
        context.update(body);
        let mut header = format!("t={at_unix_seconds},v1=");
        for byte in context.sign().as_ref() {
            // Writing to a text does not fail.
            let _ = write!(header, "{byte:02x}");
        }
        header
    }
}

/// Shows nothing of the secret.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(content: &[u8]) -> Result<Signer, AlertsError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, content).expect("written");
        Signer::read(&path)
    }

    #[test]
    fn a_signature_is_the_hmac_of_time_and_body() {
        // printf '1772000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let expected = "t=1772000000,v1=a9d8d6028ed0b6c1d904f5ff8f5a606b7423c4a08a1afe2633216ef96c7fddd1";
        for content in [&b"0123456789abcdef"[..], b"0123456789abcdef\n", b"0123456789abcdef\r\n"] {
            let signer = signer(content).expect("a secret");
            assert_eq!(signer.header(1_772_000_000, b"{\"a\":1}"), expected);
        }
    }

    #[test]
    fn a_short_secret_is_refused() {
        for content in [&b""[..], b"\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n", b"0123456789abcde\n"] {
            assert!(matches!(signer(content), Err(AlertsError::ShortSecret { .. })), "{content:?}");
        }
    }
}
