//! What holds for the schemas of all types, so that no type has to say it.

use serde_json::{Map, Value, json};

/// Applies the rules to the schema of one type.
pub(super) fn apply(schema: &mut Value) {
    // Only the fields of requests refuse unknown ones.
    let is_request = schema["additionalProperties"] == json!(false);
    let required: Vec<String> = schema["required"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, property) in properties {
            // An absent field may be spelled `null` in a request. An answer leaves it out.
            let plain = without_null(property.take());
            *property = if is_request && !required.contains(name) { or_null(plain) } else { plain };
        }
    }
    tidy(schema);
}

/// A schema without `null`.
pub(super) fn without_null(mut schema: Value) -> Value {
    if let Some(types) = schema["type"].as_array() {
        let rest: Vec<Value> = types.iter().filter(|name| *name != "null").cloned().collect();
        if let [one] = rest.as_slice() {
            schema["type"] = one.clone();
        }
    }
    if let Some(choices) = schema["oneOf"].as_array()
        && let [null, other] = choices.as_slice()
        && null["type"] == "null"
    {
        let description = schema["description"].clone();
        schema = other.clone();
        if !description.is_null() {
            schema["description"] = description;
        }
    }
    schema
}

/// The same schema, or `null`.
fn or_null(mut schema: Value) -> Value {
    match schema["type"].as_str() {
        Some(name) if schema.get("enum").is_none() => {
            schema["type"] = json!([name, "null"]);
            schema
        }
        Some(_) | None => {
            let mut either = Map::new();
            if let Some(description) = schema.as_object_mut().and_then(|schema| schema.remove("description"))
            {
                either.insert("description".to_owned(), description);
            }
            either.insert("anyOf".to_owned(), json!([schema, { "type": "null" }]));
            Value::Object(either)
        }
    }
}

/// Bounds unsigned numbers, and removes the brackets of links within Rust's documentation and empty fields.
pub(super) fn tidy(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(format)) = fields.get_mut("format") {
                // As the registry of formats spells it.
                *format = format.replace("u-int", "uint");
            }
            if fields.get("format").is_some_and(|format| format == "uint64") {
                fields.entry("maximum").or_insert(json!(u64::MAX));
            }
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = plain(text);
            }
            fields.retain(|name, value| name != "propertyNames" && !value.is_null());
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A documentation comment without what points into the crate.
fn plain(text: &str) -> String {
    let text = text.replace('\n', " ");
    let text = match text.split_once("; see [`") {
        Some((before, after)) => format!("{before}{}", after.split_once("`]").map_or("", |(_, after)| after)),
        None => text,
    };
    text.replace("[`", "`").replace("`]", "`")
}
