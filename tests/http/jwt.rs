//! JSON Web Tokens: which are accepted, and what their holders may do.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ledger_limiter::server::auth::Authenticator;
use ledger_limiter::server::config::{AuthSettings, JwtSettings};
use ledger_limiter::server::{AllowedHosts, AuditLog};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use tempfile::TempDir;

use super::*;

const SECRET: &[u8] = b"a secret of at least 32 bytes, for tests";
const RSA_PRIVATE_KEY: &[u8] = include_bytes!("jwt_keys/rsa_private_key.der");
const RSA_PUBLIC_KEY: &str = include_str!("jwt_keys/rsa_public_key.pem");
const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "ratelimiterd";

/// Signs tokens with the keys of the tests.
struct Signer {
    rsa: RsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Signer {
    fn new() -> Self {
        Self {
            rsa: RsaKeyPair::from_pkcs8(RSA_PRIVATE_KEY).expect("a key"),
            ed: Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key"),
        }
    }

    /// A token with this header and these claims, signed as `algorithm` says.
    fn sign(&self, algorithm: &str, header: &Value, claims: &Value) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let hmac = |secret: &[u8]| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes()).as_ref().to_vec()
        };
        let signature = match algorithm {
            "HS256" => hmac(SECRET),
            "HS256 with the RSA key" => hmac(RSA_PUBLIC_KEY.as_bytes()),
            "HS256 with the RSA key in DER" => hmac(self.rsa.public().as_ref()),
            "HS256 with the EdDSA key" => hmac(self.ed.public_key().as_ref()),
            "HS256 with another secret" => hmac(b"another secret of at least 32 bytes!"),
            "RS256" => {
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                let random = SystemRandom::new();
                self.rsa
                    .sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature)
                    .expect("signed");
                signature
            }
            "EdDSA" => self.ed.sign(message.as_bytes()).as_ref().to_vec(),
            "none" => Vec::new(),
            other => panic!("{other} is no algorithm of the tests"),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn claims() -> Value {
    json!({ "sub": "acme", "iss": ISSUER, "aud": AUDIENCE, "exp": now() + 600, "scope": "openid read" })
}

/// The claims, with these changes; `null` takes a claim away.
fn claims_with(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// The files of keys, and a service that uses them.
struct Provider {
    folder: TempDir,
    signer: Signer,
}

impl Provider {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), signer: Signer::new() }
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("it is written");
        path
    }

    fn jwks(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let rsa = PublicKeyComponents::<Vec<u8>>::from(self.signer.rsa.public());
        json!({ "keys": [
            { "kty": "oct", "kid": "hs", "alg": "HS256", "k": text(SECRET) },
            { "kty": "RSA", "kid": "rs", "use": "sig", "n": text(&rsa.n),
              "e": text(&rsa.e) },
            { "kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": text(self.signer.ed.public_key().as_ref()) },
            // Keys that the service does not use.
            { "kty": "RSA", "kid": "enc", "use": "enc", "n": "AQAB", "e": "AQAB" },
            { "kty": "EC", "kid": "ec", "crv": "P-256", "x": text(&[1; 32]), "y": text(&[2; 32]) },
        ] })
    }

    fn settings(&self) -> JwtSettings {
        let jwks_path = self.file("jwks.json", self.jwks().to_string());
        let (issuer, audience) = (ISSUER.to_owned(), AUDIENCE.to_owned());
        JwtSettings { jwks_path, issuer, audience, ..JwtSettings::default() }
    }
}

async fn service(jwt: JwtSettings) -> Service {
    let settings = AuthSettings { jwt, ..AuthSettings::default() };
    let authenticator = Arc::new(Authenticator::new(&settings, true).expect("the keys are valid"));
    let allowed_hosts = AllowedHosts::new(&[]).expect("no names");
    Service::behind(Gate { authenticator, allowed_hosts, audit: AuditLog::to_log() }, true).await
}

async fn status(service: &Service, token: &str) -> StatusCode {
    service.called_with(token).get("/v1/admin/limits").await.status
}

#[tokio::test]
async fn a_key_allows_its_own_algorithm_only() {
    let provider = Provider::new();
    let service = service(provider.settings()).await;
    for (header, algorithm, is_accepted) in [
        (json!({ "alg": "HS256", "kid": "hs" }), "HS256", true),
        (json!({ "alg": "RS256", "kid": "rs" }), "RS256", true),
        (json!({ "alg": "EdDSA", "kid": "ed" }), "EdDSA", true),
        (json!({ "alg": "RS256" }), "RS256", true),
        (json!({ "alg": "none" }), "none", false),
        (json!({ "alg": "None", "kid": "hs" }), "none", false),
        (json!({ "alg": "HS256", "kid": "hs" }), "none", false),
        (json!({ "alg": "HS256", "kid": "rs" }), "HS256 with the RSA key", false),
        (json!({ "alg": "HS256" }), "HS256 with the RSA key", false),
        (json!({ "alg": "HS256", "kid": "rs" }), "HS256 with the RSA key in DER", false),
        (json!({ "alg": "HS256", "kid": "ed" }), "HS256 with the EdDSA key", false),
        (json!({ "alg": "HS256", "kid": "hs" }), "HS256 with another secret", false),
        (json!({ "alg": "HS256", "kid": "rs" }), "HS256", false),
        (json!({ "alg": "RS256", "kid": "hs" }), "RS256", false),
        (json!({ "alg": "RS256", "kid": "unknown" }), "RS256", false),
        (json!({ "alg": "RS384", "kid": "rs" }), "RS256", false),
        (json!({ "alg": "HS512", "kid": "hs" }), "HS256", false),
        (json!({ "alg": "HS256", "kid": "hs", "crit": ["exp"] }), "HS256", false),
        (json!({ "kid": "hs" }), "HS256", false),
    ] {
        let token = provider.signer.sign(algorithm, &header, &claims());
        let expected = if is_accepted { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!(status(&service, &token).await, expected, "{header} signed with {algorithm}");
    }
}

#[tokio::test]
async fn claims_must_be_present_and_right() {
    let provider = Provider::new();
    let service = service(provider.settings()).await;
    let header = json!({ "alg": "HS256", "kid": "hs" });
    for (changes, is_accepted) in [
        (json!({}), true),
        (json!({ "exp": now() - 10 }), true), // within the leeway
        (json!({ "exp": now() - 100 }), false),
        (json!({ "exp": null }), false),
        (json!({ "exp": "never" }), false),
        (json!({ "exp": -1 }), false),
        (json!({ "nbf": now() - 100 }), true),
        (json!({ "nbf": now() + 100 }), false),
        (json!({ "nbf": "later" }), false),
        (json!({ "iss": "https://other.example" }), false),
        (json!({ "iss": null }), false),
        (json!({ "aud": "other" }), false),
        (json!({ "aud": ["other", AUDIENCE] }), true),
        (json!({ "aud": [] }), false),
        (json!({ "aud": null }), false),
        (json!({ "sub": null }), true),
        (json!({ "keys": ["a*"] }), false),
        (json!({ "keys": "a:*" }), false),
        (json!({ "scope": ["read"] }), false),
    ] {
        let token = provider.signer.sign("HS256", &header, &claims_with(&changes));
        let expected = if is_accepted { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!(status(&service, &token).await, expected, "{changes}");
    }
    let late = provider.signer.sign("HS256", &header, &claims_with(&json!({ "exp": now() - 100 })));
    let answer = service.called_with(late).send(Method::GET, "/v1/admin/limits", Body::empty()).await;
    let challenge = "Bearer error=\"invalid_token\", error_description=\"the token has expired\"";
    assert_eq!(answer.headers["www-authenticate"], challenge);
}

#[tokio::test]
async fn a_changed_token_is_refused() {
    let provider = Provider::new();
    let service = service(provider.settings()).await;
    let header = json!({ "alg": "RS256", "kid": "rs" });
    let good = provider.signer.sign("RS256", &header, &claims());
    let more = provider.signer.sign("RS256", &header, &claims_with(&json!({ "scope": "read admin" })));
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (good_parts, more_parts) = (parts(&good), parts(&more));
    assert_eq!(status(&service, &good).await, StatusCode::OK);
    for changed in [
        format!("{}.{}.{}", good_parts[0], more_parts[1], good_parts[2]),
        format!("{}.{}.", good_parts[0], good_parts[1]),
        format!("{}.{}", good_parts[0], good_parts[1]),
        format!("{good}.x"),
        format!("{good}="),
        format!("x{good}"),
        format!("{}..{}", good_parts[0], good_parts[2]),
        "..".to_owned(),
    ] {
        assert_eq!(status(&service, &changed).await, StatusCode::UNAUTHORIZED, "{changed}");
    }
}

#[tokio::test]
async fn an_audience_that_is_not_asked_for_is_refused() {
    let provider = Provider::new();
    let jwt = JwtSettings { issuer: String::new(), audience: String::new(), ..provider.settings() };
    let service = service(jwt).await;
    let header = json!({ "alg": "HS256" });
    for (changes, expected) in [
        (json!({}), StatusCode::UNAUTHORIZED),
        (json!({ "aud": null }), StatusCode::OK),
        (json!({ "aud": null, "iss": null }), StatusCode::OK),
    ] {
        let token = provider.signer.sign("HS256", &header, &claims_with(&changes));
        assert_eq!(status(&service, &token).await, expected, "{changes}");
    }
}

#[tokio::test]
async fn claims_tell_scopes_and_keys() {
    let provider = Provider::new();
    let service = service(provider.settings()).await;
    let header = json!({ "alg": "EdDSA", "kid": "ed" });
    let changes = json!({ "scope": "admin reserve", "keys": ["tenant:acme:*"] });
    let service = service.called_with(provider.signer.sign("EdDSA", &header, &claims_with(&changes)));
    let rpm = |key: &str| json!({ "key": key, "kind": "rolling", "capacity": 3, "window_seconds": 60 });
    assert_eq!(service.put(&rpm("tenant:acme:rpm")).await.status, StatusCode::OK);
    service.put(&rpm("tenant:other:rpm")).await.assert_error(StatusCode::FORBIDDEN, "forbidden");
    service.reserve("tenant:acme:rpm", 1).await.assert_granted();
    service.get("/v1/admin/limits").await.assert_error(StatusCode::FORBIDDEN, "forbidden");

    let nothing = claims_with(&json!({ "scope": "reserve", "keys": [] }));
    let service = service.called_with(provider.signer.sign("EdDSA", &header, &nothing));
    service.reserve("tenant:acme:rpm", 1).await.assert_error(StatusCode::FORBIDDEN, "forbidden");
}

#[tokio::test]
async fn a_key_may_be_a_file_of_its_own() {
    let provider = Provider::new();
    let (issuer, audience) = (ISSUER.to_owned(), AUDIENCE.to_owned());
    let jwt = JwtSettings {
        public_key_path: provider.file("key.pem", RSA_PUBLIC_KEY),
        secret_path: provider.file("secret", [SECRET, b"\n"].concat()),
        issuer,
        audience,
        ..JwtSettings::default()
    };
    let service = service(jwt).await;
    for (algorithm, signed_with, is_accepted) in [
        ("RS256", "RS256", true),
        ("HS256", "HS256", true),
        ("HS256", "HS256 with the RSA key", false),
        ("HS256", "HS256 with the RSA key in DER", false),
        ("EdDSA", "EdDSA", false),
    ] {
        let token = provider.signer.sign(signed_with, &json!({ "alg": algorithm, "kid": "any" }), &claims());
        let expected = if is_accepted { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!(status(&service, &token).await, expected, "{signed_with}");
    }
}

#[tokio::test]
async fn bad_keys_are_errors_that_show_nothing_of_them() {
    let provider = Provider::new();
    let error = |jwt: JwtSettings| {
        let settings = AuthSettings { jwt, ..AuthSettings::default() };
        let error = Authenticator::new(&settings, true).err().expect("it is refused");
        ledger_limiter::telemetry::with_sources(&error)
    };
    let jwks = |keys: Value| JwtSettings {
        jwks_path: provider.file("jwks.json", json!({ "keys": keys }).to_string()),
        ..JwtSettings::default()
    };
    let pem =
        |text: &str| JwtSettings { public_key_path: provider.file("k", text), ..JwtSettings::default() };
    let short = JwtSettings { secret_path: provider.file("s", "SECRET"), ..JwtSettings::default() };
    for (error, cause) in [
        (error(jwks(json!([]))), "no key for signatures"),
        (
            error(jwks(json!([{ "kty": "oct", "k": "U0VDUkVU" }]))),
            "keys[0]: a secret must be at least 32 bytes",
        ),
        (error(jwks(json!("SECRET"))), "no JWKS at line 1"),
        (error(jwks(json!([{ "kty": "oct", "k": ["SECRET"] }]))), "no key for signatures"),
        (error(pem("SECRET")), "must be a public key of RSA or Ed25519 in PEM"),
        (
            error(pem("-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n")),
            "this is a private key",
        ),
        (error(short), "a secret must be at least 32 bytes"),
    ] {
        assert!(error.contains(cause), "{error}");
        assert!(!error.contains("SECRET") && !error.contains("U0VDUkVU"), "{error}");
    }
}
