//! The rules, on a body that has every sort of field.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::read;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    name: String,
    #[serde(default)]
    number: u64,
    #[serde(default)]
    share: f64,
    #[serde(default)]
    is_on: bool,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    color: Color,
    #[serde(default)]
    items: Vec<Item>,
    #[serde(default)]
    item: Option<Item>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    number: u64,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Color {
    #[default]
    Red,
    DarkBlue,
}

fn named(name: &str) -> Body {
    Body {
        name: name.to_owned(),
        number: 0,
        share: 0.0,
        is_on: false,
        text: None,
        color: Color::Red,
        items: Vec::new(),
        item: None,
    }
}

#[test]
fn every_spelling_of_a_body_is_the_same_body() {
    let whole = Body {
        number: 1_000,
        share: 2.0,
        is_on: true,
        text: Some("t".to_owned()),
        color: Color::DarkBlue,
        items: vec![Item { number: 1 }, Item { number: 2 }],
        item: Some(Item { number: 3 }),
        ..named("n")
    };
    for text in [
        r#"{"name":"n","number":1000,"share":2,"is_on":true,"text":"t","color":"dark_blue","items":[{"number":1},{"number":2}],"item":{"number":3}}"#,
        r#" { "name" : "\u006e" , "number" : 1e3 , "share" : 2.0, "is_on":true , "text":"t","color":"dark_blue", "items" : [ { "number" : 1.0 } , {"number":0.2e1} ] ,"item" : { "number":30e-1 } } "#,
    ] {
        assert_eq!(read::<Body>(text.as_bytes()).as_ref(), Ok(&whole), "{text}");
    }
}

#[test]
fn null_is_an_absent_field() {
    let nulls = r#"{"name":"n","number":null,"share":null,"is_on":null,"text":null,"color":null,"items":null,"item":null}"#;
    assert_eq!(read::<Body>(nulls.as_bytes()), Ok(named("n")));
}

#[test]
fn an_error_names_the_place_in_the_words_of_json() {
    let long = format!(r#"{{"name":"n","{}":1}}"#, "x".repeat(70));
    let cut = format!("unknown field `{}…`; the fields are `name`, ", "x".repeat(64));
    for (text, message) in [
        ("", "the JSON is not complete; it ends at line 1 column 0"),
        ("{}x", "the JSON is malformed at line 1 column 3: trailing characters"),
        ("\u{feff}{}", "the JSON begins with a byte order mark (BOM); send UTF-8 without it"),
        ("null", "the JSON must be an object, not null"),
        ("7", "the JSON must be an object, not 7"),
        (r#"["n"]"#, "the JSON must be an object, not an array"),
        ("{}", "missing field `name`"),
        (r#"{"name":null}"#, "name must not be null"),
        (r#"{"name":5}"#, "name must be a string, not 5"),
        (r#"{"name":["n"]}"#, "name must be a string, not an array"),
        (r#"{"name":"\ud800"}"#, "name must be text: "),
        (r#"{"name":"n","name":"m"}"#, "duplicate field `name`"),
        (r#"{"name":"n","is_on":1}"#, "is_on must be true or false, not 1"),
        (r#"{"name":"n","share":"1"}"#, "share must be a number, not a string"),
        (r#"{"name":"n","share":1e999}"#, "share must be between -1.7e308 and 1.7e308"),
        (r#"{"name":"n","number":5.5}"#, "number must be a whole number, not 5.5"),
        (r#"{"name":"n","number":"5"}"#, "number must be a whole number, not a string"),
        (r#"{"name":"n","number":true}"#, "number must be a whole number, not true"),
        (r#"{"name":"n","number":-1}"#, "number must not be negative"),
        (r#"{"name":"n","number":1e30}"#, "number must be at most 9223372036854775807"),
        (r#"{"name":"n","color":"pink"}"#, "color must be one of `red`, `dark_blue`, not `pink`"),
        (r#"{"name":"n","color":{"red":null}}"#, "color must be a string, not an object"),
        (r#"{"name":"n","items":{}}"#, "items must be an array, not an object"),
        (r#"{"name":"n","items":[[1]]}"#, "items[0] must be an object, not an array"),
        (r#"{"name":"n","item":[1]}"#, "item must be an object, not an array"),
        (r#"{"name":"n","items":[null]}"#, "items[0] must be an object, not null"),
        (r#"{"name":"n","items":[{"number":1},{}]}"#, "items[1]: missing field `number`"),
        (r#"{"name":"n","items":[{"number":null}]}"#, "items[0].number must not be null"),
        (
            r#"{"name":"n","items":[{"number":1,"x":2}]}"#,
            "items[0]: unknown field `x`; the fields are `number`",
        ),
        (r#"{"name":"n","x":null}"#, "unknown field `x`; "),
        (&long, &cut),
    ] {
        let error = read::<Body>(text.as_bytes()).expect_err(text).to_string();
        assert!(error.starts_with(message), "{text}: {error}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_refused_with_their_place() {
    for (text, message) in [
        (b"\xff\xfe{\0".as_slice(), "the JSON begins with a byte order mark (BOM)"),
        (b"\xfe\xff\0{", "the JSON begins with a byte order mark (BOM)"),
        (b"\x1f\x8b\x08", "the JSON must be UTF-8; byte 2 is not"),
        (b"{\"name\":\"\xff\"}", "the JSON must be UTF-8; byte 10 is not"),
    ] {
        let error = read::<Body>(text).expect_err(message).to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn the_text_of_a_value_can_be_kept_for_later() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Batch<'a> {
        #[serde(borrow)]
        items: Vec<&'a RawValue>,
        #[serde(default)]
        name: Option<String>,
    }
    // The second one passes the second attempt only.
    for text in [r#"{"items":[1.0, [2]],"name":"n"}"#, r#"{"items":[1.0, [2]],"name":"n","name":null}"#] {
        let batch: Batch<'_> = read(text.as_bytes()).expect(text);
        assert_eq!(batch.items.iter().map(|item| item.get()).collect::<Vec<_>>(), ["1.0", "[2]"], "{text}");
        assert_eq!(batch.name.as_deref(), Some("n"), "{text}");
    }
}
