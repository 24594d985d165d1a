//! The defaults, the overrides, and the errors of wrong settings.

use std::path::Path;

use super::*;

const ALL_NAMES: &[&str] = &[
    "alerts.look_interval_ms",
    "alerts.queue_max",
    "alerts.webhook_attempts_max",
    "alerts.webhook_ca_path",
    "alerts.webhook_retry_ms",
    "alerts.webhook_secret_path",
    "alerts.webhook_timeout_ms",
    "alerts.webhook_url",
    "answers.headers",
    "answers.report",
    "auth.certificates_path",
    "auth.jwt.audience",
    "auth.jwt.issuer",
    "auth.jwt.jwks_path",
    "auth.jwt.leeway_seconds",
    "auth.jwt.public_key_path",
    "auth.jwt.secret_path",
    "auth.mode",
    "auth.tokens_path",
    "connections.answer_bytes_max",
    "connections.body_bytes_max",
    "connections.body_timeout_ms",
    "connections.handshake_timeout_ms",
    "connections.head_timeout_ms",
    "connections.header_bytes_max",
    "connections.headers_max",
    "connections.http2_resets_max",
    "connections.http2_streams_max",
    "connections.idle_timeout_ms",
    "connections.max",
    "connections.max_age_seconds",
    "connections.max_per_peer",
    "connections.write_timeout_ms",
    "gateway.http2_resets_max",
    "gateway.rules",
    "limiter.lease_cache_capacity",
    "limiter.local_denial_ms",
    "limiter.priority_aging_ms",
    "limiter.wait_poll_ms",
    "limiter.waiters_max",
    "log.audit_path",
    "log.bytes_per_second_max",
    "log.filter",
    "log.format",
    "memory.denied_leases_max",
    "memory.retention_seconds",
    "memory.transfers_max",
    "metrics.limits",
    "otlp.ca_path",
    "otlp.endpoint",
    "otlp.headers_path",
    "otlp.logs",
    "otlp.metrics_interval_ms",
    "otlp.traces_share",
    "registry.decrease_interval_ms",
    "registry.instance_idle_seconds",
    "registry.path",
    "registry.poll_interval_ms",
    "retry_policy.concurrency.base_ms",
    "retry_policy.concurrency.factor",
    "retry_policy.concurrency.jitter_ms",
    "retry_policy.concurrency.max_ms",
    "retry_policy.decreasing_ms",
    "retry_policy.rolling.base_ms",
    "retry_policy.rolling.factor",
    "retry_policy.rolling.jitter_ms",
    "retry_policy.rolling.max_ms",
    "retry_policy.rolling_window_share",
    "server.admin_listen_addr",
    "server.advertise_url",
    "server.allowed_hosts",
    "server.backend",
    "server.drain_ms",
    "server.grpc_listen_addr",
    "server.listen_addr",
    "server.max_batch_requests",
    "server.request_timeout_ms",
    "server.ui",
    "tigerbeetle.addresses",
    "tigerbeetle.cluster_id",
    "tigerbeetle.flush_interval_micros",
    "tigerbeetle.ledger",
    "tigerbeetle.max_batch_events",
    "tigerbeetle.queue_capacity",
    "tigerbeetle.sessions",
    "tls.certificate_path",
    "tls.client_ca_path",
    "tls.client_certificates",
    "tls.key_path",
];

fn parse(text: &str, overrides: &[(&str, &str)]) -> Result<Settings, String> {
    let overrides: Vec<_> =
        overrides.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Settings::parse(Path::new("test.toml"), text, &overrides).map_err(|error| error.to_string())
}

#[test]
fn the_defaults_are_valid_and_every_setting_has_a_dotted_name() {
    assert_eq!(parse("", &[]), Ok(Settings::default()));
    assert_eq!(names().into_keys().collect::<Vec<_>>(), ALL_NAMES);
}

#[test]
fn a_dotted_name_gives_the_flag_and_the_variable() {
    assert_eq!(flag("retry_policy.rolling.base_ms"), "retry-policy-rolling-base-ms");
    assert_eq!(variable("server.listen_addr"), "RATELIMITERD_SERVER_LISTEN_ADDR");
}

#[test]
#[cfg(feature = "tigerbeetle")]
fn the_example_file_holds_every_default() {
    let example = include_str!("../../../ratelimiterd.toml");
    assert_eq!(parse(example, &[]), Ok(Settings::default()));
    let table = toml::Value::Table(example.parse().expect("TOML"));
    for name in ALL_NAMES {
        let value = name.split('.').try_fold(&table, |section, segment| section.get(segment));
        assert!(value.is_some(), "ratelimiterd.toml has no {name}");
    }
}

#[test]
fn an_override_wins_over_the_file_and_the_file_over_the_default() {
    let settings = parse(
        "[server]\nrequest_timeout_ms = 7\nmax_batch_requests = 3\n[tigerbeetle]\naddresses = ['a:1']",
        &[
            ("server.request_timeout_ms", "9"),
            ("tigerbeetle.addresses", "x:1, y:2"),
            ("tigerbeetle.cluster_id", "340282366920938463463374607431768211455"),
            ("retry_policy.rolling.max_ms", "9000"),
            ("server.backend", "memory"),
        ],
    )
    .expect("valid");
    assert_eq!(settings.server.request_timeout_ms, 9);
    assert_eq!(settings.server.max_batch_requests, 3);
    assert_eq!(settings.tigerbeetle.addresses, ["x:1", "y:2"]);
    assert_eq!(settings.tigerbeetle.cluster_id, u128::MAX);
    assert_eq!(settings.server.backend, Backend::Memory);
    assert_eq!(settings.retry_policy.rolling.max_ms, 9_000);
    assert_eq!(settings.retry_policy.rolling.base_ms, 100, "the other fields keep their defaults");
}

#[test]
fn addresses_are_an_array_or_items_between_commas() {
    for (text, addresses) in [
        ("a:1", vec!["a:1"]),
        (" a:1 , b:2 ", vec!["a:1", "b:2"]),
        ("['a:1', \"b:2\"]", vec!["a:1", "b:2"]),
        ("[::1]:3000", vec!["[::1]:3000"]),
        ("[::1]:3000,[fe80::1]:3001,c:3", vec!["[::1]:3000", "[fe80::1]:3001", "c:3"]),
        ("['[::1]:3000']", vec!["[::1]:3000"]),
    ] {
        let settings = parse("", &[("tigerbeetle.addresses", text)]).expect(text);
        assert_eq!(settings.tigerbeetle.addresses, addresses, "{text}");
    }
    for text in ["::1:3000", "[::1]", "[::1]:0", "[x]:1", "::1]:1", "[::1:1", "", "['a:1'", "a:1,,b:2"] {
        let error = parse("", &[("tigerbeetle.addresses", text)]).expect_err(text);
        assert!(error.contains("is not HOST:PORT"), "{text}: {error}");
    }
}

#[test]
fn the_limits_of_the_metrics_are_bounded() {
    let limits = |count: usize| (0..count).map(|number| format!("k{number}")).collect::<Vec<_>>().join(",");
    let settings = parse("", &[("metrics.limits", &limits(100))]).expect("valid");
    assert_eq!(settings.metrics.limits.len(), 100);
    assert_eq!(settings.metrics.limits[99].as_str(), "k99");
    let error = parse("", &[("metrics.limits", &limits(101))]).expect_err("too many");
    assert!(error.contains("metrics.limits: must name at most 100 limits, not 101"), "{error}");
}

#[test]
fn an_error_names_the_setting_and_the_cause() {
    let backoff = |fields: &str| format!("[retry_policy.rolling]\njitter_ms=0\n{fields}");
    let webhook = |url: &str| format!("[alerts]\nwebhook_secret_path = 'x'\nwebhook_url = '{url}'");
    for (text, name, cause) in [
        ("[server]\nlisten_adr = 'x'", "server.listen_adr", "unknown field"),
        ("[server]\nlisten_addr = 'x'", "server.listen_addr", "invalid socket address"),
        ("[server]\nadmin_listen_addr = 'x'", "server.admin_listen_addr", "invalid socket address"),
        (
            "[server]\nadvertise_url = 'limits:8080'",
            "server.advertise_url",
            "must be http://HOST:PORT or https://HOST:PORT",
        ),
        (
            "[server]\nadvertise_url = 'http://limits:8080'",
            "server.advertise_url",
            "the host of http://limits:8080 must be in server.allowed_hosts",
        ),
        ("[servers]", "servers", "unknown field"),
        ("[server]\nbackend = 'redis'", "server.backend", "unknown variant `redis`"),
        ("[server]\nrequest_timeout_ms = 0", "server.request_timeout_ms", "must be at least 1, not 0"),
        ("[server]\ndrain_ms = 60001", "server.drain_ms", "must be at most 60000, not 60001"),
        (
            "[server]\nallowed_hosts = ['a/b']",
            "server.allowed_hosts",
            "\"a/b\" is not a name, NAME:PORT or *",
        ),
        (
            "[server]\nlisten_addr = '0.0.0.0:1'",
            "auth.mode",
            "must be set, because others can reach 0.0.0.0:1",
        ),
        ("[server]\nlisten_addr = '[::]:1'", "auth.mode", "must be set, because others can reach [::]:1"),
        (
            "[server]\nadmin_listen_addr = '0.0.0.0:1'",
            "auth.mode",
            "must be set, because others can reach 0.0.0.0:1;",
        ),
        ("[auth]\ncertificates_path = 'x'", "auth.certificates_path", "needs clients that show certificates"),
        ("[auth]\nmode = 'tokens'", "auth.mode", "is \"tokens\", but there are none"),
        ("[auth]\nmode = 'none'\ntokens_path = 'x'", "auth.mode", "must not be \"none\" beside a file"),
        ("[auth]\nmode = 'off'", "auth.mode", "unknown variant `off`"),
        ("[connections]\nmax = 0", "connections.max", "must be at least 1, not 0"),
        ("[connections]\nheaders_max = 101", "connections.headers_max", "must be between 1 and 100, not 101"),
        (
            "[connections]\nhead_timeout_ms = 0",
            "connections.head_timeout_ms",
            "must be between 1 and 3600000",
        ),
        (
            "[tls]\ncertificate_path = 'x'",
            "tls.key_path",
            "must name the private key of tls.certificate_path",
        ),
        ("[tls]\nkey_path = 'x'", "tls.certificate_path", "must name the certificate of tls.key_path"),
        ("[tls]\nclient_certificates = 'required'", "tls.client_certificates", "needs tls.certificate_path"),
        ("[tls]\nclient_ca_path = 'x'", "tls.client_certificates", "must be \"optional\" or \"required\""),
        (
            "[tls]\ncertificate_path = 'x'\nkey_path = 'x'\nclient_certificates = 'optional'",
            "tls.client_ca_path",
            "must name the authorities",
        ),
        ("[alerts]\nlook_interval_ms = 99", "alerts.look_interval_ms", "must be at least 100, not 99"),
        ("[alerts]\nqueue_max = 0", "alerts.queue_max", "must be at least 1, not 0"),
        (
            "[alerts]\nwebhook_timeout_ms = 0",
            "alerts.webhook_timeout_ms",
            "must be between 1 and 60000, not 0",
        ),
        ("[alerts]\nwebhook_secret_path = 'x'", "alerts.webhook_secret_path", "set alerts.webhook_url"),
        (
            "[alerts]\nwebhook_url = 'http://a'",
            "alerts.webhook_secret_path",
            "must name a file with the secret",
        ),
        (&webhook("a/b"), "alerts.webhook_url", "must be http://HOST:PORT/PATH"),
        (&webhook("ftp://a/b"), "alerts.webhook_url", "must be http://HOST:PORT/PATH"),
        (&webhook("https://user:password@a/b"), "alerts.webhook_url", "without a user"),
        (&webhook("https://a/b#c"), "alerts.webhook_url", "without a user and a fragment"),
        ("[otlp]\ntraces_share = 1.5", "otlp.traces_share", "must be between 0 and 1, not 1.5"),
        (
            "[otlp]\nmetrics_interval_ms = 999",
            "otlp.metrics_interval_ms",
            "must be 0 or at least 1000, not 999",
        ),
        ("[otlp]\nendpoint = 'collector:4318'", "otlp.endpoint", "must be "),
        ("[metrics]\nlimits = ['a', 'b c']", "metrics.limits", "\"b c\": "),
        ("[registry]\npath = ''", "registry.path", "must not be empty"),
        ("[tigerbeetle]\naddresses = []", "tigerbeetle.addresses", "must name at least one replica"),
        ("[tigerbeetle]\naddresses = ['nowhere']", "tigerbeetle.addresses", "\"nowhere\" is not HOST:PORT"),
        ("[tigerbeetle]\naddresses = ['a:0']", "tigerbeetle.addresses", "\"a:0\" is not HOST:PORT"),
        ("[tigerbeetle]\nledger = 0", "tigerbeetle.ledger", "must be at least 1, not 0"),
        ("[tigerbeetle]\nsessions = 65", "tigerbeetle.sessions", "must be between 1 and 8, not 65"),
        ("[tigerbeetle]\ncluster_id = -1", "tigerbeetle.cluster_id", "expected a number from 0 to 2^128-1"),
        ("[log]\nfilter = 'a=b=c'", "log.filter", "error parsing level filter"),
        ("server = 1", "server", "invalid type: integer `1`"),
        (
            "[retry_policy]\nrolling_window_share = 1.5",
            "retry_policy.rolling_window_share",
            "must be between 0 and 1, not 1.5",
        ),
        (
            &backoff("base_ms=2\nmax_ms=1\nfactor=1.0"),
            "retry_policy.rolling.max_ms",
            "must be at least base_ms, which is 2, not 1",
        ),
        (
            &backoff("base_ms=1\nmax_ms=1\nfactor=0.5"),
            "retry_policy.rolling.factor",
            "must be between 1 and 100, not 0.5",
        ),
    ] {
        let error = parse(text, &[]).expect_err(text);
        assert!(error.starts_with(&format!("setting {name}: ")) && error.contains(cause), "{text}: {error}");
    }
}

#[test]
fn an_error_names_the_wrong_override_or_the_file() {
    let error = parse("", &[("server.max_batch_requests", "many")]).expect_err("not a number");
    assert!(error.starts_with("setting server.max_batch_requests: invalid type"), "{error}");
    let error = parse("", &[("server.nothing", "1")]).expect_err("not a setting");
    assert_eq!(error, "setting server.nothing: there is no such setting");
    let error = parse("no toml", &[]).expect_err("not TOML");
    assert!(error.starts_with("test.toml: TOML parse error at line 1"), "{error}");
}

#[test]
fn only_variables_of_settings_and_of_kubernetes_may_have_the_prefix() {
    let check = |name: &str| check_variables([name.to_owned()]).map_err(|error| error.to_string());
    for name in [
        "PATH",
        "RATELIMITERD_CONFIG",
        "RATELIMITERD_SERVER_BACKEND",
        "RATELIMITERD_SERVICE_HOST",
        "RATELIMITERD_PORT_80_TCP",
    ] {
        assert_eq!(check(name), Ok(()), "{name}");
    }
    assert_eq!(
        check("RATELIMITERD_SERVER_BAKEND"),
        Err("variable RATELIMITERD_SERVER_BAKEND is not a setting of ratelimiterd; correct its name or unset it"
            .to_owned())
    );
}
