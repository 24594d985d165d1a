//! Every answer that a test of this folder sees conforms to `docs/openapi.json`: the operation knows the status, and the body
//! and the headers are as the document says. Here objects have no fields but those of the document.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use jsonschema::Validator;

use super::access::ROUTES;
use super::*;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).expect("JSON");
    let schemas = document["components"]["schemas"].as_object_mut().expect("schemas");
    for schema in schemas.values_mut().filter(|schema| schema["type"] == "object") {
        schema["additionalProperties"] = json!(false);
    }
    document
});

/// Compiled schemas by their text: most answers have one of a few.
static VALIDATORS: LazyLock<Mutex<HashMap<String, Validator>>> = LazyLock::new(Mutex::default);

/// Checks one answer.
#[track_caller]
pub fn check(method: &Method, path: &str, answer: &RawAnswer) {
    // The files of the web page are no part of the API.
    if path.starts_with("/ui") {
        return;
    }
    let status = answer.status;
    let place = format!("{method} {path} {status}: {}", answer.body);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = answer.headers.get("allow").map(|methods| methods.to_str().expect("text"));
        assert!(allowed.is_some_and(|methods| !methods.is_empty()), "{place}: no Allow");
        assert!(
            !allowed.is_some_and(|methods| methods.split(',').any(|one| one.trim() == method)),
            "{place}: {allowed:?}"
        );
    }
    let asked = match path.starts_with("/v1/check/") {
        // Every method does the same.
        true => &Method::POST,
        false if *method == Method::HEAD => &Method::GET,
        false => method,
    };
    let has_body = *method != Method::HEAD;
    let Some((template, operation)) = operation(asked, path) else {
        let is_refused = status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE;
        assert!(is_refused, "{place}: docs/openapi.json has no such operation");
        return is_valid(&json!({ "$ref": "#/components/schemas/ErrorBody" }), answer, has_body, &place);
    };
    let known = &operation["responses"][status.as_str()];
    let known = match known["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(&reference[1..]).expect("a shared answer"),
        None => known,
    };
    assert!(!known.is_null(), "{place}: {template} does not know this status");
    for (name, header) in known["headers"].as_object().into_iter().flatten() {
        assert!(header["required"] != true || answer.headers.contains_key(name), "{place}: no {name}");
    }
    let media_type = answer.headers["content-type"].to_str().expect("text");
    let known = &known["content"][media_type.split(';').next().expect("a type")];
    assert!(known.is_object(), "{place}: {template} does not know {media_type}");
    if media_type.contains("json") {
        is_valid(&known["schema"], answer, has_body, &place);
    }
}

#[track_caller]
fn is_valid(schema: &Value, answer: &RawAnswer, has_body: bool, place: &str) {
    if !has_body {
        return;
    }
    let body: Value = serde_json::from_str(&answer.body).expect("every answer is JSON");
    let wrong = faults(schema, &body);
    assert!(wrong.is_empty(), "{place}: {wrong:?}");
}

/// What is wrong with a value.
fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut validators = VALIDATORS.lock().expect("no test fails while it holds the lock");
    let validator = validators.entry(schema.to_string()).or_insert_with(|| {
        let mut whole = schema.clone();
        whole["components"] = DOCUMENT["components"].clone();
        jsonschema::draft202012::new(&whole).expect("a schema")
    });
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The operation of a method and a path, and its template. The most specific template is the one with the longest literals.
fn operation(method: &Method, path: &str) -> Option<(&'static str, &'static Value)> {
    let path = path.split('?').next().expect("a path");
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let matching = paths.iter().filter(|(template, _)| matches(template, path));
    let operations = matching.filter_map(|(template, operations)| {
        Some((template.as_str(), operations.get(method.as_str().to_lowercase())?))
    });
    operations.max_by_key(|(template, _)| template.len())
}

/// Whether a path is of a template. The only parameter, a key, may hold slashes.
fn matches(template: &str, path: &str) -> bool {
    let Some((before, rest)) = template.split_once('{') else { return template == path };
    let (_, after) = rest.split_once('}').expect("braces are in pairs");
    path.len() > before.len() + after.len() && path.starts_with(before) && path.ends_with(after)
}

#[test]
fn the_document_has_each_route_with_its_scope_and_no_other() {
    let routes = ROUTES.iter().filter(|(method, ..)| *method != Method::HEAD);
    let mut known: Vec<String> = routes
        .map(|(method, path, scope)| {
            let (template, operation) = operation(method, path).expect("an operation");
            assert_eq!(operation["security"], json!([{ "token": [scope.as_str()] }]), "{method} {path}");
            format!("{} {template}", method.as_str().to_lowercase())
        })
        .collect();
    known.extend(["/healthz", "/readyz", "/openapi.json"].map(|path| format!("get {path}")));
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let mut documented: Vec<String> = paths
        .iter()
        .flat_map(|(path, operations)| {
            let methods = operations.as_object().expect("operations").keys();
            methods.map(move |method| format!("{method} {path}"))
        })
        .collect();
    known.sort();
    documented.sort();
    assert_eq!(documented, known);
}

#[test]
fn examples_are_valid() {
    let mut count = 0;
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().expect("operations") {
            let answers = operation["responses"].as_object().expect("answers").values();
            for content in
                answers.chain([&operation["requestBody"]]).map(|part| &part["content"]["application/json"])
            {
                if let Some(example) = content.get("example") {
                    assert_eq!(
                        faults(&content["schema"], example),
                        Vec::<String>::new(),
                        "{method} {path}: {example}"
                    );
                    count += 1;
                }
            }
        }
    }
    assert!(count >= 2 * paths.len() - 10, "nearly every operation has an example: {count}");
}

#[test]
fn a_request_with_an_unknown_field_or_a_number_out_of_bounds_is_invalid() {
    let schema = json!({ "$ref": "#/components/schemas/ReserveBody" });
    let body = reserve_body(LEASE, "rpm", 1);
    assert!(faults(&schema, &body).is_empty());
    for (pointer, value) in [
        ("/lease_id", json!("8ZZZZZZZZZZZZZZZZZZZZZZZZZ")),
        ("/requirements", json!([])),
        ("/requirements/0", json!({ "key": "rpm", "amount": 1, "more": 1 })),
        ("/requirements/0/amount", json!(1_u64 << 63)),
        ("/requirements/0/amount", json!(-1)),
        ("/requirements/0/key", json!("no key")),
    ] {
        let mut bad = body.clone();
        *bad.pointer_mut(pointer).expect("a field") = value;
        assert!(!faults(&schema, &bad).is_empty(), "{bad}");
    }
    let mut null = body;
    null["job_id"] = Value::Null;
    assert!(faults(&schema, &null).is_empty(), "null is an absent field");
}

#[tokio::test]
async fn the_service_tells_the_document() {
    let service = Service::not_ready().await;
    let answer = service.get("/openapi.json").await;
    let document: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).expect("JSON");
    assert_eq!(answer, Answer::ok(document));
}
