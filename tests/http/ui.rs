//! The web page for operators: who gets its files, and with which headers. `scripts/test-ui` tests the page itself.

use std::collections::BTreeSet;

use ledger_limiter::server::AllowedHosts;

use super::tokens::TokenFile;
use super::*;

/// The files that the page asks for, and their types.
const FILES: &[(&str, &str)] = &[
    ("/ui/", "text/html; charset=utf-8"),
    ("/ui/index.html", "text/html; charset=utf-8"),
    ("/ui/style.css", "text/css; charset=utf-8"),
    ("/ui/icon.svg", "image/svg+xml"),
    ("/ui/app.js", "text/javascript; charset=utf-8"),
    ("/ui/model.js", "text/javascript; charset=utf-8"),
];

#[tokio::test]
async fn the_files_need_no_token_and_each_has_its_type_and_its_protection() {
    let service = TokenFile::new().service().await;
    for (path, media_type) in FILES {
        let answer = service.send(Method::GET, path, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        for (header, value) in [
            ("content-type", *media_type),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(answer.headers[header], value, "{path} {header}");
        }
        assert!(!answer.body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn the_policy_lets_the_page_load_its_own_files_and_nothing_else() {
    let service = Service::new().await;
    for (path, _) in FILES {
        let answer = service.send(Method::GET, path, Body::empty()).await;
        let policy = answer.headers["content-security-policy"].to_str().expect("text");
        let directives: BTreeSet<&str> = policy.split("; ").collect();
        let expected = [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ];
        assert_eq!(directives, BTreeSet::from(expected), "{path}");
    }
}

#[tokio::test]
async fn the_page_names_only_files_that_are_served() {
    let service = Service::new().await;
    let page = service.send(Method::GET, "/ui/", Body::empty()).await.body;
    let mut left: Vec<String> = ["href=\"", "src=\""]
        .into_iter()
        .flat_map(|attribute| page.split(attribute).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .filter(|name| !name.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = left.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let answer = service.send(Method::GET, &format!("/ui/{name}"), Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        let imports = answer.body.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next());
        left.extend(imports.map(str::to_owned));
    }
    assert!(seen.contains("plot.js"), "{seen:?}");
}

#[tokio::test]
async fn the_bare_path_leads_to_the_folder_below_any_prefix() {
    let answer = Service::new().await.send(Method::GET, "/ui", Body::empty()).await;
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(answer.headers["location"], "ui/");
}

#[tokio::test]
async fn a_browser_that_has_a_file_gets_it_again_only_when_it_changed() {
    let service = Service::new().await;
    let first = service.send(Method::GET, "/ui/app.js", Body::empty()).await;
    let etag = first.headers["etag"].clone();
    let style = service.send(Method::GET, "/ui/style.css", Body::empty()).await;
    assert_ne!(style.headers["etag"], etag);
    for (known, status) in [(etag, StatusCode::NOT_MODIFIED), (style.headers["etag"].clone(), StatusCode::OK)]
    {
        let request = Request::builder().uri("/ui/app.js").header("if-none-match", known);
        let again = service.send_request(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(again.status, status);
        assert_eq!(again.body.is_empty(), status == StatusCode::NOT_MODIFIED);
        assert!(again.headers.contains_key("content-security-policy"));
    }
}

#[tokio::test]
async fn there_is_no_other_file() {
    let service = Service::new().await;
    for path in [
        "/ui/mod.rs",
        "/ui/nothing.js",
        "/ui/../metrics",
        "/ui/%2e%2e/Cargo.toml",
        "/ui//app.js",
        "/ui/app.js/",
    ] {
        service.get(path).await.assert_error(StatusCode::NOT_FOUND, "not_found");
    }
    let posted = service.call(Method::POST, "/ui/", "{}").await;
    posted.assert_error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
}

#[tokio::test]
async fn under_a_foreign_name_the_page_is_not_served() {
    let allowed_hosts = AllowedHosts::new(&["limits.example".to_owned()]).expect("names");
    let service = Service::behind(Gate { allowed_hosts, ..Gate::open() }, true).await;
    for (host, status) in [
        ("limits.example", StatusCode::OK),
        ("127.0.0.1:8080", StatusCode::OK),
        ("evil.example", StatusCode::MISDIRECTED_REQUEST),
    ] {
        let request = Request::builder().uri("/ui/").header("host", host);
        let answer = service.send_request(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.status, status, "{host}");
    }
}

#[tokio::test]
async fn only_operators_get_the_page_and_only_if_it_is_wanted() {
    for (audience, serves_ui, status) in [
        (Audience::Everybody, true, StatusCode::OK),
        (Audience::Operators, true, StatusCode::OK),
        (Audience::Callers, true, StatusCode::NOT_FOUND),
        (Audience::Everybody, false, StatusCode::NOT_FOUND),
        (Audience::Operators, false, StatusCode::NOT_FOUND),
    ] {
        let backend = MemoryBackend::new();
        let replica = Replica::start(backend.connect(), backend.ids(), 0).await;
        let metrics = Metrics::new(MetricsRegistry::default());
        let api = Api { serves_ui, ..Api::new(Arc::clone(&replica.engine), Gate::open(), metrics) };
        let router = api::router(Arc::new(api), audience);
        let request = Request::builder().uri("/ui/").header("host", "localhost").body(Body::empty());
        let answer = router.oneshot(request.expect("a request")).await.expect("an answer");
        assert_eq!(answer.status(), status, "{audience:?} {serves_ui}");
    }
}
