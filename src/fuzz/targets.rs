//! A function for each parser of bytes from outside.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::decide::definition_codec::{self, Assembler};
use crate::json;
use crate::ledger::{AccountId, Movement, Recorded, Transfer, TransferCode, TransferId, UserData};
use crate::limit::json::DefinitionJson;
use crate::limit::{KeyTemplate, LeaseId, LimitKey, escape_segment};
use crate::protocol::{
    BatchBody, CompleteBody, ExtendBody, ObjectCancelBody, ObjectRateBody, ObjectReleaseBody,
    ObjectReserveAheadBody, ObjectReserveBody, RenewBody, ReserveBody,
};

/// Reads JSON. What can be read is read back after it was written, as the same.
fn read<T: DeserializeOwned + Serialize + PartialEq + Debug>(input: &[u8]) -> Option<T> {
    let value: T = json::read(input).ok()?;
    let written = serde_json::to_vec(&value).expect("it can be written");
    assert_eq!(json::read::<T>(&written).expect("it can be read back"), value);
    Some(value)
}

pub(super) fn reserve_body(input: &[u8]) {
    if let Some(Ok(command)) = read::<ReserveBody>(input).map(ReserveBody::into_command) {
        assert!((1..=32).contains(&command.keys().count()));
        assert!(
            command.reserve().requirements().is_sorted_by(|a, b| a.key < b.key),
            "sorted, and no key twice"
        );
    }
}

pub(super) fn complete_body(input: &[u8]) {
    if let Some(Ok(command)) = read::<CompleteBody>(input).map(CompleteBody::into_command) {
        assert!(command.actuals().len() <= 32);
    }
}

pub(super) fn extend_body(input: &[u8]) {
    if let Some(Ok(command)) = read::<ExtendBody>(input).map(ExtendBody::into_command) {
        assert!(command.requirement.amount.get() > 0);
    }
}

pub(super) fn renew_body(input: &[u8]) {
    if let Some(Ok(command)) = read::<RenewBody>(input).map(RenewBody::into_command) {
        assert_eq!(LeaseId::parse(&command.lease.to_string()).expect("a lease id"), command.lease);
    }
}

pub(super) fn object_bodies(input: &[u8]) {
    read::<ObjectReserveBody>(input);
    read::<ObjectReserveAheadBody>(input);
    read::<ObjectCancelBody>(input);
    read::<ObjectReleaseBody>(input);
    read::<ObjectRateBody>(input);
}

pub(super) fn batch_body(input: &[u8]) {
    let Ok(batch) = json::read::<BatchBody<'_>>(input) else { return };
    for item in batch.requests {
        reserve_body(item.get().as_bytes());
        complete_body(item.get().as_bytes());
    }
}

pub(super) fn definition_body(input: &[u8]) {
    let Some(Ok(definition)) = read::<DefinitionJson>(input).map(DefinitionJson::into_definition) else {
        return;
    };
    let again = DefinitionJson::from(&definition).into_definition();
    assert_eq!(again.expect("it can be read back"), definition);
}

pub(super) fn key(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for parsed in [LimitKey::parse(text), LimitKey::parse_name(text)].into_iter().flatten() {
        assert_eq!(parsed.as_str(), text, "a key has one spelling");
    }
    // Whatever the text, it can be a segment.
    let segment = escape_segment(text);
    if !segment.is_empty() && segment.len() < 200 {
        let key = LimitKey::parse(&format!("k:{segment}")).expect("an escaped segment is valid");
        assert_eq!(key.as_str().matches(':').count(), 1);
    }
}

pub(super) fn lease_id(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(id) = LeaseId::parse(text) {
        assert_eq!(LeaseId::parse(&id.to_string()).expect("it can be read back"), id);
    }
}

/// A template and a key, in two lines.
pub(super) fn template(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (template, key) = text.split_once('\n').unwrap_or((text, text));
    let Ok(name) = LimitKey::parse_name(template) else { return };
    let Some(template) = KeyTemplate::of(&name) else { return };
    assert!(template.covers(&name), "a template covers itself");
    if let Ok(key) = LimitKey::parse(key) {
        template.matches(&key);
    }
}

/// The parts of definition versions as the ledger has them: 28 bytes each, the last 4 of them the number of the part.
pub(super) fn definition_of_the_ledger(input: &[u8]) {
    let mut assembler = Assembler::default();
    for part in input.chunks(28) {
        let byte = |index: usize| part.get(index).copied().unwrap_or(0);
        let user_data = UserData {
            wide: u128::from_le_bytes(std::array::from_fn(byte)),
            long: u64::from_le_bytes(std::array::from_fn(|index| byte(16 + index))),
            short: u32::from_le_bytes(std::array::from_fn(|index| byte(24 + index))),
        };
        let Ok(Some(version)) = assembler.push(&recorded(user_data)) else { continue };
        let parts = definition_codec::encode(
            version.number,
            &version.state,
            version.schedule_since_ns,
            version.first_window_ends_ms,
        );
        let mut again = Assembler::default();
        let mut parts =
            parts.expect("what was read can be written").into_iter().map(|part| again.push(&recorded(part)));
        let read_back = parts.find_map(|result| result.expect("it can be read back")).expect("it is whole");
        assert_eq!(read_back, version);
    }
}

fn recorded(user_data: UserData) -> Recorded {
    let end = AccountId::from_u128(1);
    let movement = Movement::Post { debit: end, credit: end, amount: 0 };
    let transfer =
        Transfer { id: TransferId::from_u128(1), code: TransferCode::Definition, user_data, movement };
    Recorded { transfer, timestamp_ns: 1 }
}

#[cfg(feature = "server")]
pub(super) use of_server::*;

#[cfg(feature = "server")]
mod of_server {
    use std::path::Path;

    use axum::http::{Request, StatusCode, Uri};
    use tokio_rustls::rustls::pki_types::CertificateDer;

    use super::*;
    use crate::registry::file::content;
    use crate::server::api::{CheckQuery, accepts_problems};
    use crate::server::auth::{CertificateTable, JwtKeys, KeyPattern, parse_entries};
    use crate::server::config::{ClientCertificates, JwtSettings, Settings, TlsSettings};
    use crate::server::{AllowedHosts, ClientIdentity, TlsFiles};

    pub(crate) fn registry_file(input: &[u8]) {
        let path = Path::new("registry.json");
        let Ok(states) = content::decode(path, input) else { return };
        let written = content::encode(&states).expect("it can be written");
        assert_eq!(content::decode(path, written.as_bytes()).expect("it can be read back"), states);
    }

    pub(crate) fn configuration(input: &[u8]) {
        let Ok(text) = std::str::from_utf8(input) else { return };
        if let Err(error) = Settings::parse(Path::new("test.toml"), text, &[]) {
            assert!(!error.to_string().is_empty());
        }
    }

    pub(crate) fn token_file(input: &[u8]) {
        let Ok(text) = std::str::from_utf8(input) else { return };
        for entry in parse_entries(text).unwrap_or_default() {
            let written = entry.to_toml().expect("it can be written");
            assert_eq!(parse_entries(&written).expect("it can be read back"), [entry]);
        }
    }

    pub(crate) fn certificate_file(input: &[u8]) {
        let Ok(text) = std::str::from_utf8(input) else { return };
        if let Ok(table) = CertificateTable::parse(text) {
            let content: toml::Table = text.parse().expect("it was parsed as TOML");
            assert_eq!(table.len(), content["certificate"].as_array().map_or(0, Vec::len));
        }
    }

    /// The certificate of a client, in DER.
    pub(crate) fn client_certificate(input: &[u8]) {
        let client = ClientIdentity::of(&CertificateDer::from(input));
        for subject in client.subjects() {
            assert!(["URI:", "DNS:", "CN:"].iter().any(|kind| subject.starts_with(kind)), "{subject}");
        }
    }

    /// One PEM file as certificate, key and authorities of clients.
    pub(crate) fn tls_files(input: &[u8]) {
        let settings =
            TlsSettings { client_certificates: ClientCertificates::Required, ..TlsSettings::default() };
        if let Ok(config) = TlsFiles::all_of(input).config(&settings) {
            assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        }
    }

    /// Only the tokens of the corpus that this secret signed are good.
    pub(crate) fn jwt(input: &[u8]) {
        let mut keys = JwtKeys::none();
        keys.add_secret(SECRET, &JwtSettings::default()).expect("a secret");
        if keys.verify(input).is_ok() {
            assert_eq!(input, SIGNED.as_bytes(), "nobody else can sign");
        }
    }

    const SECRET: &str = "a secret of the tests, 32 bytes!";
    const SIGNED: &str = include_str!("corpus/jwt/signed");

    pub(crate) fn key_pattern(input: &[u8]) {
        let Ok(text) = std::str::from_utf8(input) else { return };
        let (pattern, key) = text.split_once('\n').unwrap_or((text, text));
        let Ok(pattern) = KeyPattern::parse(pattern) else { return };
        if let Ok(key) = LimitKey::parse_name(key)
            && pattern.matches(&key)
        {
            let fixed = pattern.as_str().split(['{', '*']).next().unwrap_or_default();
            assert!(key.as_str().starts_with(fixed), "{} matches {key}", pattern.as_str());
        }
    }

    /// The query of a check, and in a second line its `Accept`.
    pub(crate) fn check_request(input: &[u8]) {
        let (query, accept) = match input.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&input[..end], &input[end + 1..]),
            None => (input, &b""[..]),
        };
        if let Ok(request) = Request::builder().header("accept", accept).body(()) {
            let _is_accepted = accepts_problems(request.headers());
        }
        let target = [&b"/v1/check/k?"[..], query].concat();
        let Ok(uri) = Uri::try_from(target) else { return };
        if let Some(denied) = CheckQuery::denied_in(&uri) {
            assert!([StatusCode::TOO_MANY_REQUESTS, StatusCode::FORBIDDEN].contains(&denied));
        }
    }

    pub(crate) fn host_header(input: &[u8]) {
        let hosts = AllowedHosts::new(&["limits.example.com".to_owned()]).expect("a name");
        let Ok(request) = Request::builder().header("host", input).header("origin", input).body(()) else {
            return;
        };
        let _answer = hosts.check(&request.into_parts().0);
    }
}

#[cfg(feature = "grpc")]
pub(super) use of_grpc::*;

#[cfg(feature = "grpc")]
mod of_grpc {
    use prost::Message;

    use crate::protocol::REQUIREMENTS_MAX;
    use crate::server::grpc::proto::envoy::service::ratelimit::v3::RateLimitRequest;
    use crate::server::grpc::{Item, Plan, Rules};

    pub(crate) fn gateway_rules(input: &[u8]) {
        let Ok(text) = std::str::from_utf8(input) else { return };
        if Rules::parse(text).is_ok() {
            let content: toml::Table = text.parse().expect("it was parsed as TOML");
            assert!(content["rule"].is_array());
        }
    }

    const RULES: &str = include_str!("corpus/gateway_rules/of_requests");

    /// Whatever a client makes a gateway send: what is planned charges each descriptor that a rule enforces, or denies it.
    pub(crate) fn gateway_request(input: &[u8]) {
        let Ok(request) = RateLimitRequest::decode(input) else { return };
        let rules = Rules::parse(RULES).expect("valid rules");
        let hits = request.hits_addend.max(1).into();
        let Ok(plan) = Plan::new(&rules, &request.domain, &request.descriptors, hits) else { return };
        assert_eq!(plan.items.len(), request.descriptors.len());
        assert!(plan.charges.len() <= REQUIREMENTS_MAX);
        for item in &plan.items {
            if let Item::Limit { key, .. } = item {
                assert!(plan.charges.iter().any(|charge| charge.requirement.key == *key), "{key} is charged");
            }
        }
    }
}
