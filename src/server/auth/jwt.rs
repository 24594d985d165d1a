//! JSON Web Tokens of an identity provider. A key allows one algorithm, so a token cannot choose how it is checked.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

use super::{Access, AllowedKeys, KeyPattern, Scope, jwt_crypto};
use crate::server::config::JwtSettings;

/// The longest token, in bytes. Each is decoded before its signature is checked.
const TOKEN_BYTES_MAX: usize = 8_192;
/// The shortest secret, in bytes: as long as the output of HS256 (RFC 7518, section 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// The keys against which tokens are checked.
pub(crate) struct JwtKeys(Vec<JwtKey>);

struct JwtKey {
    /// The id of the key; `None` if there is no other.
    id: Option<String>,
    key: DecodingKey,
    /// Holds the one algorithm of the key.
    validation: Validation,
}

/// The claims that this service reads, beside those that [`Validation`] checks.
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    /// Names of scopes with spaces between them. Those of other services are skipped.
    #[serde(default)]
    scope: String,
    /// Patterns of the allowed keys. Without the claim every key is allowed.
    keys: Option<Vec<String>>,
}

/// Why a token is refused. The texts show nothing of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JwtError {
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid")]
    Invalid,
}

impl JwtKeys {
    /// No keys: every token is refused.
    pub(crate) fn none() -> Self {
        jwt_crypto::install();
        Self(Vec::new())
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds the keys of a JWKS file. Keys of other algorithms, and those for encryption, are skipped.
    pub(super) fn add_jwks(&mut self, text: &str, settings: &JwtSettings) -> Result<(), String> {
        // The text of the error could repeat a part of a secret key.
        let set: JwkSet = serde_json::from_str(text)
            .map_err(|error| format!("no JWKS at line {}, column {}", error.line(), error.column()))?;
        let before = self.0.len();
        for (index, jwk) in set.keys.iter().enumerate() {
            let Some(algorithm) = algorithm_of(jwk) else { continue };
            let key = DecodingKey::from_jwk(jwk).map_err(|_| format!("keys[{index}] cannot be read"))?;
            check_secret(&key, algorithm).map_err(|error| format!("keys[{index}]: {error}"))?;
            let validation = validation(algorithm, settings);
            self.0.push(JwtKey { id: jwk.common.key_id.clone(), key, validation });
        }
        let is_empty = self.0.len() == before;
        if is_empty { Err("no key for signatures with HS256, RS256 or EdDSA".to_owned()) } else { Ok(()) }
    }

    /// Adds a public key in PEM: of RSA for RS256, or of Ed25519 for EdDSA.
    pub(super) fn add_public_key(&mut self, text: &str, settings: &JwtSettings) -> Result<(), String> {
        if text.contains("PRIVATE KEY") {
            return Err("this is a private key; the service needs the public one".to_owned());
        }
        let rsa = DecodingKey::from_rsa_pem(text.as_bytes()).map(|key| (Algorithm::RS256, key));
        let either =
            rsa.or_else(|_| DecodingKey::from_ed_pem(text.as_bytes()).map(|key| (Algorithm::EdDSA, key)));
        let (algorithm, key) =
            either.map_err(|_| "must be a public key of RSA or Ed25519 in PEM".to_owned())?;
        self.0.push(JwtKey { id: None, key, validation: validation(algorithm, settings) });
        Ok(())
    }

    /// Adds the secret of HS256. The end of its last line is not part of it.
    pub(crate) fn add_secret(&mut self, text: &str, settings: &JwtSettings) -> Result<(), String> {
        let key = DecodingKey::from_secret(text.trim_end_matches(['\r', '\n']).as_bytes());
        check_secret(&key, Algorithm::HS256)?;
        self.0.push(JwtKey { id: None, key, validation: validation(Algorithm::HS256, settings) });
        Ok(())
    }

    /// What the holder of a token may do.
    pub(crate) fn verify(&self, token: &[u8]) -> Result<Access, JwtError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(JwtError::Invalid);
        }
        let header = decode_header(token).map_err(|_| JwtError::Invalid)?;
        // An extension that must be understood; this service understands none.
        if header.crit.is_some() {
            return Err(JwtError::Invalid);
        }
        let fits = |key: &&JwtKey| {
            let is_named = key.id.is_none() || header.kid.is_none() || key.id == header.kid;
            is_named && key.validation.algorithms.contains(&header.alg)
        };
        let mut refusal = JwtError::Invalid;
        for key in self.0.iter().filter(fits) {
            match decode::<Claims>(token, &key.key, &key.validation) {
                Ok(token) => return access(token.claims),
                Err(error) => {
                    use jsonwebtoken::errors::ErrorKind::ExpiredSignature;
                    // The signature is checked before the date, so the key is the right one.
                    if matches!(error.kind(), ExpiredSignature) {
                        refusal = JwtError::Expired;
                    }
                }
            }
        }
        Err(refusal)
    }
}

/// The algorithm that a key allows; `None` if the service does not use the key.
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_))) {
        return None;
    }
    let (algorithm, name) = if matches!(&jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
        (Algorithm::HS256, KeyAlgorithm::HS256)
    } else if matches!(&jwk.algorithm, AlgorithmParameters::RSA(_)) {
        (Algorithm::RS256, KeyAlgorithm::RS256)
    } else if let AlgorithmParameters::OctetKeyPair(key) = &jwk.algorithm
        && key.curve == EllipticCurve::Ed25519
    {
        (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
    } else {
        return None;
    };
    jwk.common.key_algorithm.as_ref().is_none_or(|of_key| *of_key == name).then_some(algorithm)
}

fn check_secret(key: &DecodingKey, algorithm: Algorithm) -> Result<(), String> {
    let is_short = key.try_get_as_bytes().is_ok_and(|secret| secret.len() < SECRET_BYTES_MIN);
    if algorithm == Algorithm::HS256 && is_short {
        return Err(format!("a secret must be at least {SECRET_BYTES_MIN} bytes long"));
    }
    Ok(())
}

/// A token needs `exp`. A token with `aud` is accepted only if the settings name the audience, because another one is meant.
fn validation(algorithm: Algorithm, settings: &JwtSettings) -> Validation {
    let mut validation = Validation::new(algorithm);
    let mut required = vec!["exp"];
    validation.leeway = settings.leeway_seconds;
    validation.validate_nbf = true;
    if !settings.issuer.is_empty() {
        validation.set_issuer(&[&settings.issuer]);
        required.push("iss");
    }
    if !settings.audience.is_empty() {
        validation.set_audience(&[&settings.audience]);
        required.push("aud");
    }
    validation.set_required_spec_claims(&required);
    validation
}

fn access(claims: Claims) -> Result<Access, JwtError> {
    let keys = match claims.keys {
        None => AllowedKeys::All,
        Some(patterns) => {
            let patterns: Result<_, _> = patterns.iter().map(|pattern| KeyPattern::parse(pattern)).collect();
            AllowedKeys::Matching(patterns.map_err(|_| JwtError::Invalid)?)
        }
    };
    Ok(Access {
        name: claims.sub.unwrap_or_else(|| "jwt".to_owned()),
        scopes: claims.scope.split(' ').filter_map(Scope::parse).collect(),
        keys,
        // Checked with the signature, and the access lasts for one request.
        expires_unix_seconds: None,
    })
}
