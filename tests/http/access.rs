//! Tokens and scopes: every route asks for its own, and health for none.

use ledger_limiter::server::AuditLog;
use ledger_limiter::server::auth::Scope;

use super::tokens::TokenFile;
use super::*;

/// Every route of the API that needs a scope: the method, the path, and the scope. Bodies are empty, so that a request that is
/// let in fails for another reason.
pub const ROUTES: &[(Method, &str, Scope)] = &[
    (Method::POST, "/v1/reserve", Scope::Reserve),
    (Method::POST, "/v1/reserve/batch", Scope::Reserve),
    (Method::POST, "/v1/extend", Scope::Reserve),
    (Method::POST, "/v1/renew", Scope::Reserve),
    (Method::POST, "/v1/complete", Scope::Reserve),
    (Method::POST, "/v1/complete/batch", Scope::Reserve),
    (Method::POST, "/v1/check/bucket", Scope::Reserve),
    (Method::GET, "/v1/check/bucket", Scope::Reserve),
    (Method::POST, "/v1/objects/bucket/try_reserve", Scope::Reserve),
    (Method::POST, "/v1/objects/bucket/reserve", Scope::Reserve),
    (Method::POST, "/v1/objects/bucket/cancel", Scope::Reserve),
    (Method::POST, "/v1/objects/bucket/release", Scope::Reserve),
    (Method::GET, "/v1/objects/bucket/available_permits", Scope::Read),
    (Method::GET, "/v1/objects/bucket/state", Scope::Read),
    (Method::PUT, "/v1/objects/bucket/rate", Scope::Admin),
    (Method::GET, "/v1/admin/limits", Scope::Read),
    (Method::GET, "/v1/admin/limits/rpm", Scope::Read),
    (Method::HEAD, "/v1/admin/limits/rpm", Scope::Read),
    (Method::GET, "/v1/admin/limits/rpm/history", Scope::Read),
    (Method::GET, "/v1/admin/denials", Scope::Read),
    (Method::GET, "/v1/admin/replicas", Scope::Admin),
    (Method::PUT, "/v1/admin/limits", Scope::Admin),
    (Method::DELETE, "/v1/admin/limits/rpm", Scope::Admin),
    (Method::POST, "/v1/admin/limits/rpm/replenish", Scope::Admin),
    (Method::POST, "/v1/admin/limits/rpm/reset", Scope::Admin),
    (Method::GET, "/metrics", Scope::Metrics),
];

#[tokio::test]
async fn each_route_needs_its_scope_and_no_other() {
    let file = TokenFile::new();
    let tokens = Scope::ALL.map(|scope| (scope, file.add(scope.as_str(), &[scope], &[])));
    let others = Scope::ALL.map(|scope| {
        let others: Vec<Scope> = Scope::ALL.into_iter().filter(|other| *other != scope).collect();
        (scope, file.add(&format!("without {scope}"), &others, &[]))
    });
    let service = file.service().await;
    for (method, path, needed) in ROUTES {
        for (scope, token) in &tokens {
            let answer = service.called_with(token).send(method.clone(), path, Body::empty()).await;
            let is_refused =
                answer.status == StatusCode::FORBIDDEN || answer.status == StatusCode::UNAUTHORIZED;
            assert_eq!(is_refused, scope != needed, "{method} {path} with {scope}: {}", answer.status);
        }
        let (_, without) = others.iter().find(|(scope, _)| scope == needed).expect("one for each scope");
        let answer = service.called_with(without).send(method.clone(), path, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{needed}\"");
        assert_eq!(answer.headers["www-authenticate"], challenge, "{method} {path}");
        if *method != Method::HEAD {
            let message = format!("the token lacks the scope {needed}");
            let body = json!({ "error": "forbidden", "message": message });
            assert_eq!(answer.read().body, body, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn each_route_needs_a_token() {
    let file = TokenFile::new();
    let service = file.service().await;
    for (method, path, _) in ROUTES {
        let answer = service.send(method.clone(), path, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer", "{method} {path}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(service.get(path).await, Answer::ok(json!({ "ok": true })), "{path}");
    }
}

#[tokio::test]
async fn only_one_well_formed_header_with_a_known_token_is_accepted() {
    let file = TokenFile::new();
    let token = file.add("reader", &[Scope::Read], &[]);
    let service = file.service().await;
    let bearer = format!("Bearer {token}");
    let other_end =
        format!("Bearer {}{}", &token[..token.len() - 1], if token.ends_with('A') { 'B' } else { 'A' });
    let (missing, invalid) = ("Bearer", "Bearer error=\"invalid_token\"");
    let malformed = "Bearer error=\"invalid_request\"";
    let unauthorized = StatusCode::UNAUTHORIZED;
    for (headers, status, challenge) in [
        (vec![bearer.clone()], StatusCode::OK, ""),
        (vec![bearer.replace("Bearer", "bEARER")], StatusCode::OK, ""),
        (vec![bearer.replace(' ', "   ")], StatusCode::OK, ""),
        (vec![], unauthorized, missing),
        (vec![String::new()], unauthorized, missing),
        (vec![token.clone()], unauthorized, missing),
        (vec![format!("Basic {token}")], unauthorized, missing),
        (vec![format!("Bearer\t{token}")], unauthorized, missing),
        (vec!["Bearer".to_owned()], unauthorized, invalid),
        (vec!["Bearer ".to_owned()], unauthorized, invalid),
        (vec!["Bearer x".to_owned()], unauthorized, invalid),
        (vec![format!("{bearer} ")], unauthorized, invalid),
        (vec![format!("{bearer},{bearer}")], unauthorized, invalid),
        (vec![format!("{bearer}x")], unauthorized, invalid),
        (vec![other_end], unauthorized, invalid),
        (vec!["Bearer rl_".to_owned()], unauthorized, invalid),
        (vec![format!("Bearer {}", "x".repeat(100_000))], unauthorized, invalid),
        (vec!["Bearer \u{e9}\u{ff}".to_owned()], unauthorized, invalid),
        (vec!["Bearer a.b.c".to_owned()], unauthorized, invalid),
        (vec![bearer.clone(), bearer.clone()], StatusCode::BAD_REQUEST, malformed),
        (vec![bearer.clone(), "Bearer x".to_owned()], StatusCode::BAD_REQUEST, malformed),
    ] {
        let mut request = Request::builder().uri("/v1/admin/limits");
        for header in &headers {
            request = request
                .header("authorization", HeaderValue::from_bytes(header.as_bytes()).expect("a header"));
        }
        let answer = service.send_request(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.status, status, "{headers:?}");
        let actual = answer.headers.get("www-authenticate").map_or("", |value| value.to_str().expect("text"));
        assert_eq!(actual, challenge, "{headers:?}");
        assert!(!answer.body.contains("rl_"), "{}", answer.body);
    }
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let file = TokenFile::new();
    let token = file.add("late", &[Scope::Read], &[]);
    let text = std::fs::read_to_string(file.path()).expect("the file");
    file.write(&format!("{text}expires = 2026-01-01T00:00:00Z\n"));
    let service = file.service().await.called_with(token);
    let answer = service.send(Method::GET, "/v1/admin/limits", Body::empty()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let challenge = "Bearer error=\"invalid_token\", error_description=\"the token has expired\"";
    assert_eq!(answer.headers["www-authenticate"], challenge);
    answer.read().assert_error(StatusCode::UNAUTHORIZED, "unauthorized");
}

#[tokio::test]
async fn a_reload_takes_over_good_files_only() {
    let file = TokenFile::new();
    let old = file.add("old", &[Scope::Read], &[]);
    let authenticator = file.authenticator();
    let allowed_hosts = ledger_limiter::server::AllowedHosts::new(&[]).expect("no names");
    let gate = Gate { authenticator: Arc::clone(&authenticator), allowed_hosts, audit: AuditLog::to_log() };
    let service = Service::behind(gate, true).await;
    let status = async |token: &str| service.called_with(token).get("/v1/admin/limits").await.status;
    let (known, unknown) = (StatusCode::OK, StatusCode::UNAUTHORIZED);

    let new = file.add("new", &[Scope::Read], &[]);
    assert_eq!((status(&old).await, status(&new).await), (known, unknown), "not read yet");
    authenticator.reload();
    assert_eq!((status(&old).await, status(&new).await), (known, known), "both at once");

    let good = std::fs::read_to_string(file.path()).expect("the file");
    for bad in ["", "no TOML", &good[..good.len() - 20], "[[token]]\nname = 'x'"] {
        file.write(bad);
        authenticator.reload();
        assert_eq!((status(&old).await, status(&new).await), (known, known), "{bad}");
    }
    std::fs::remove_file(file.path()).expect("it is removed");
    authenticator.reload();
    assert_eq!(status(&old).await, known, "without the file");

    let (_, without_old) = good.rsplit_once("[[token]]").expect("two entries");
    file.write(&format!("[[token]]{without_old}"));
    authenticator.reload();
    assert_eq!((status(&old).await, status(&new).await), (unknown, known), "the old one is removed");
    file.write("token = []");
    authenticator.reload();
    assert_eq!((status(&old).await, status(&new).await), (unknown, unknown), "all are removed");
}

#[tokio::test]
async fn a_folder_holds_files_of_tokens() {
    let file = TokenFile::new();
    let token = file.add("reader", &[Scope::Read], &[]);
    let folder = file.path().parent().expect("a folder").to_owned();
    // As Kubernetes mounts a secret.
    std::fs::write(folder.join("..data.toml"), "no TOML").expect("it is written");
    std::fs::write(folder.join("notes.txt"), "no TOML").expect("it is written");
    let settings = ledger_limiter::server::config::AuthSettings { tokens_path: folder, ..Default::default() };
    let authenticator =
        ledger_limiter::server::auth::Authenticator::new(&settings, true).expect("it is valid");
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    assert_eq!(authenticator.authenticate(&headers, None).expect("it is known").name(), "reader");
}
