//! The settings of authentication: `auth.*`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `auth.*`: who may do what.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthSettings {
    /// Whether callers are authenticated.
    pub mode: AuthMode,
    /// The file of tokens, or a folder of such files; empty for none.
    pub tokens_path: PathBuf,
    /// The file that says what holders of certificates may do; empty for none.
    pub certificates_path: PathBuf,
    /// Tokens of an identity provider.
    pub jwt: JwtSettings,
}

/// Whether callers are authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// If there are tokens or keys. Without them the service listens on the loopback address only.
    #[default]
    Auto,
    /// Always.
    Tokens,
    /// Never.
    None,
}

/// `auth.jwt.*`: tokens of an identity provider. A path is empty if there is no such file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JwtSettings {
    /// A JWKS file.
    pub jwks_path: PathBuf,
    /// A public key in PEM.
    pub public_key_path: PathBuf,
    /// The secret of HS256.
    pub secret_path: PathBuf,
    /// The required `iss`; empty allows any.
    pub issuer: String,
    /// The required `aud`; if empty, a token must have none.
    pub audience: String,
    /// How much the clocks may differ.
    pub leeway_seconds: u64,
}

impl Default for JwtSettings {
    fn default() -> Self {
        Self {
            jwks_path: PathBuf::new(),
            public_key_path: PathBuf::new(),
            secret_path: PathBuf::new(),
            issuer: String::new(),
            audience: String::new(),
            leeway_seconds: 30,
        }
    }
}

impl AuthSettings {
    /// Whether a file of tokens or keys is set.
    pub fn has_credentials(&self) -> bool {
        let JwtSettings { jwks_path, public_key_path, secret_path, .. } = &self.jwt;
        [&self.tokens_path, &self.certificates_path, jwks_path, public_key_path, secret_path]
            .iter()
            .any(|path| !path.as_os_str().is_empty())
    }
}
