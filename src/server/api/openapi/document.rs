//! Makes the document from the table of operations.

use serde_json::{Map, Value, json};

use super::operation::{Operation, OwnAnswer, RequestBody, Type};
use super::operations::operations;
use super::rules;
use crate::limit::schema::{Key, Name};
use crate::protocol::ErrorBody;
use crate::server::api::check::Problem;
use crate::server::auth::Scope;

const DESCRIPTION: &str = "Unknown fields are refused. `null` is an absent field. A whole number has any spelling that \
     JSON allows. A body needs `content-type: application/json`, is at most 1 MiB long and is not compressed. Every \
     answer with status 405 names the methods of its path in `Allow`, every 503 says in `Retry-After` when to repeat.";
const TOKEN: &str = "A token of `ratelimiterd token new`, or a JSON Web Token. A service with `auth.mode: none` asks for none.";

/// The whole document.
pub(super) fn document() -> Value {
    let operations = operations();
    let mut paths: Map<String, Value> = Map::new();
    for operation in &operations {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ratelimiterd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": TOKEN },
            },
            "responses": shared_answers(),
            "parameters": {
                "key": path_parameter::<Key>("key", "The key of a limit; it may hold slashes."),
                "name": path_parameter::<Name>("name", "A limit or a template; it may hold slashes."),
            },
            "schemas": schemas(&operations),
        },
    })
}

fn described(operation: &Operation) -> Value {
    let mut parameters = Vec::new();
    for name in ["key", "name"] {
        if operation.path.contains(&format!("{{{name}}}")) {
            parameters.push(json!({ "$ref": format!("#/components/parameters/{name}") }));
        }
    }
    parameters.extend(operation.query.iter().flat_map(query_parameters));
    let security = operation.scope.map_or_else(|| json!([]), |scope| json!([{ "token": [scope.as_str()] }]));
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "security": security,
        "responses": answers(operation),
    });
    if let Some(scope) = operation.scope {
        described["description"] = json!(format!("Needs the scope `{scope}`."));
    }
    if !parameters.is_empty() {
        described["parameters"] = json!(parameters);
    }
    if let Some(RequestBody { of, example, is_optional }) = &operation.body {
        described["requestBody"] = json!({
            "required": !is_optional,
            "content": { "application/json": { "schema": reference(of), "example": example } },
        });
    }
    described
}

/// The answers that the operation names, and those that any operation like it may give.
fn answers(operation: &Operation) -> Value {
    let mut answers: Map<String, Value> =
        operation.answers.iter().map(|own| (own.status.to_string(), own_answer(operation, own))).collect();
    let mut may = |status: u16| {
        let shared = json!({ "$ref": format!("#/components/responses/{status}") });
        answers.entry(status.to_string()).or_insert(shared);
    };
    may(431);
    if operation.scope.is_some() {
        [400, 401, 403, 421, 503].into_iter().for_each(&mut may);
    }
    if operation.body.is_some() {
        [408, 413, 415].into_iter().for_each(&mut may);
    }
    if operation.has_problems {
        answers.iter_mut().filter(|(status, _)| *status != "200").for_each(|(status, answer)| {
            if answer.get("$ref").is_some() {
                *answer = shared_answers()[status.as_str()].clone();
            }
            let schema = reference(&Type::of::<Problem>());
            answer["content"]["application/problem+json"] = json!({ "schema": schema });
        });
    }
    Value::Object(answers)
}

fn own_answer(operation: &Operation, own: &OwnAnswer) -> Value {
    let content = match own.types.as_slice() {
        [] if operation.id == "metrics" => {
            json!({ "application/openmetrics-text": { "schema": { "type": "string" } } })
        }
        [] => json!({ "application/json": { "schema": { "type": "object" } } }),
        [one] => json!({ "application/json": { "schema": reference(one) } }),
        several => {
            let choices: Vec<Value> = several.iter().map(reference).collect();
            json!({ "application/json": { "schema": { "anyOf": choices } } })
        }
    };
    let mut answer = json!({ "description": own.description, "content": content });
    if let Some(example) = &own.example {
        answer["content"]["application/json"]["example"] = example.clone();
    }
    if own.status == 503 {
        answer["headers"] = retry_after();
    }
    answer
}

fn shared_answers() -> Value {
    let error = |description: &str| {
        let schema = json!({ "$ref": "#/components/schemas/ErrorBody" });
        json!({ "description": description, "content": { "application/json": { "schema": schema } } })
    };
    let mut answers = json!({
        "400": error("a header, the path, the query or the body is malformed, or a field is out of range"),
        "401": error("the token is missing, unknown or expired"),
        "403": error("the token lacks the scope or the pattern of a key, or a foreign web page asks"),
        "408": error("the body did not arrive in time"),
        "413": error("the body is longer than 1 MiB"),
        "415": error("the body is not JSON, or it is compressed"),
        "421": error("the service is not known under this host name"),
        "431": error("the request has too many headers"),
        "503": error("the outcome is unknown, or the service is busy; send the request again"),
    });
    answers["401"]["headers"] =
        json!({ "WWW-Authenticate": { "required": true, "schema": { "type": "string" } } });
    answers["503"]["headers"] = retry_after();
    answers
}

fn retry_after() -> Value {
    json!({ "Retry-After": {
        "description": "in seconds", "required": true, "schema": { "type": "integer", "minimum": 1 },
    } })
}

fn reference(of: &Type) -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", of.name) })
}

fn path_parameter<T: utoipa::ToSchema>(name: &str, description: &str) -> Value {
    let schema = reference(&Type::of::<T>());
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
}

/// One parameter for each field of the type of a query.
fn query_parameters(of: &Type) -> Vec<Value> {
    let (_, schema) = of.schemas.last().expect("the type itself is the last");
    let fields = schema["properties"].as_object().expect("a query has fields");
    let parameter = |(name, field): (&String, &Value)| {
        let mut field = rules::without_null(field.clone());
        rules::tidy(&mut field);
        let description = field["description"].take();
        rules::tidy(&mut field);
        json!({ "name": name, "in": "query", "required": false, "description": description, "schema": field })
    };
    fields.iter().map(parameter).collect()
}

fn schemas(operations: &[Operation]) -> Value {
    let mut schemas = Map::new();
    let bodies = operations.iter().filter_map(|operation| operation.body.as_ref()).map(|body| &body.of);
    let answers = operations.iter().flat_map(|operation| &operation.answers).flat_map(|own| &own.types);
    let others = [Type::of::<Key>(), Type::of::<Name>(), Type::of::<ErrorBody>(), Type::of::<Problem>()];
    for of in bodies.chain(answers).chain(&others) {
        for (name, schema) in &of.schemas {
            let mut schema = schema.clone();
            rules::apply(&mut schema);
            schemas.insert(name.clone(), schema);
        }
    }
    Value::Object(schemas)
}

#[test]
fn every_scope_has_an_operation() {
    for scope in Scope::ALL {
        assert!(operations().iter().any(|operation| operation.scope == Some(scope)), "{scope}");
    }
}
