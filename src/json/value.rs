//! Reads a value from its text, by every rule of this module, and says what is wrong in the words of JSON.
//!
//! A value is read from the inside out: the text of each field is found first, and read when serde asks for it.

use std::fmt;
use std::slice;

use serde::de::value::StrDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::value::RawValue;

use super::error::{JsonError, cut};
use super::number::{Whole, whole};
use crate::limit::Amount;

/// The name under which serde asks for the text of a value. It is that of `serde_json`, which does not export it.
pub(super) const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// Byte order marks: of UTF-8, and of UTF-16 in both orders.
const BYTE_ORDER_MARKS: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];

/// Reads the whole of `text` as a `T`.
pub(super) fn read<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, JsonError> {
    if BYTE_ORDER_MARKS.iter().any(|mark| text.starts_with(mark)) {
        return Err(JsonError::text("the JSON begins with a byte order mark (BOM); send UTF-8 without it"));
    }
    let text = std::str::from_utf8(text).map_err(|error| {
        JsonError::text(format_args!("the JSON must be UTF-8; byte {} is not", error.valid_up_to() + 1))
    })?;
    let whole: &RawValue = serde_json::from_str(text).map_err(|error| JsonError::syntax(&error))?;
    T::deserialize(Value(whole.get()))
}

/// The text of one value, without space around it.
#[derive(Debug, Clone, Copy)]
struct Value<'de>(&'de str);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
}

impl<'de> Value<'de> {
    /// The first byte tells, because the text is JSON.
    fn shape(self) -> Shape {
        match self.0.as_bytes().first() {
            Some(b'{') => Shape::Object,
            Some(b'[') => Shape::Array,
            Some(b'"') => Shape::Text,
            Some(b't' | b'f') => Shape::Bool,
            Some(b'n') => Shape::Null,
            Some(_) | None => Shape::Number,
        }
    }

    /// The value must have this shape; `name` is the shape with its article.
    fn must_be(self, shape: Shape, name: &str) -> Result<(), JsonError> {
        if self.shape() == shape { Ok(()) } else { Err(self.wrong(name)) }
    }

    fn wrong(self, expected: &str) -> JsonError {
        let actual = match self.shape() {
            Shape::Text => "a string",
            Shape::Array => "an array",
            Shape::Object => "an object",
            Shape::Null | Shape::Bool | Shape::Number => &cut(self.0),
        };
        JsonError::value(format!("must be {expected}, not {actual}"))
    }

    /// The values of an array.
    fn items(self) -> Result<Vec<&'de RawValue>, JsonError> {
        self.must_be(Shape::Array, "an array")?;
        serde_json::from_str(self.0).map_err(JsonError::text)
    }

    /// The fields of an object, in their order.
    fn fields(self) -> Result<Vec<(String, &'de RawValue)>, JsonError> {
        self.must_be(Shape::Object, "an object")?;
        let Fields(fields) = serde_json::from_str(self.0).map_err(JsonError::text)?;
        Ok(fields)
    }

    fn whole_number(self) -> Result<u64, JsonError> {
        self.must_be(Shape::Number, "a whole number")?;
        match whole(self.0) {
            Whole::Number(number) => Ok(number),
            Whole::TooLarge => Err(JsonError::value(format!("must be at most {}", Amount::MAX.get()))),
            Whole::Negative => Err(JsonError::value("must not be negative".to_owned())),
            Whole::Fraction => Err(self.wrong("a whole number")),
        }
    }
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.shape() {
            Shape::Null => visitor.visit_unit(),
            Shape::Bool => self.deserialize_bool(visitor),
            Shape::Number => match whole(self.0) {
                Whole::Number(number) => visitor.visit_u64(number),
                Whole::TooLarge | Whole::Negative | Whole::Fraction => self.deserialize_f64(visitor),
            },
            Shape::Text => self.deserialize_str(visitor),
            Shape::Array => self.deserialize_seq(visitor),
            Shape::Object => {
                let fields = self.fields()?;
                visitor.visit_map(&mut Object { fields: fields.iter(), next: None })
            }
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        let fields = self.fields()?;
        if let Some((unknown, _)) = fields.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            return Err(JsonError::unknown_field(unknown, known));
        }
        let is_null = |(_, value): &(String, &RawValue)| Value(value.get()).shape() == Shape::Null;
        let (nulls, fields): (Vec<_>, Vec<_>) = fields.into_iter().partition(is_null);
        let value = visitor.visit_map(&mut Object { fields: fields.iter(), next: None });
        value.map_err(|error| match error.missing() {
            Some(field) if nulls.iter().any(|(null, _)| null == field) => {
                JsonError::value("must not be null".to_owned()).inside(&format!(".{field}"))
            }
            Some(_) | None => error,
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        let items = self.items()?;
        visitor.visit_seq(&mut Array { items: items.iter(), index: 0 })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        if self.shape() == Shape::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        if name != RAW_VALUE {
            return visitor.visit_newtype_struct(self);
        }
        let mut reader = serde_json::Deserializer::from_str(self.0);
        reader.deserialize_newtype_struct(name, visitor).map_err(JsonError::text)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        let name = String::deserialize(self)?;
        visitor.visit_enum(StrDeserializer::new(&name))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.must_be(Shape::Bool, "true or false")?;
        visitor.visit_bool(self.0 == "true")
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_u64(self.whole_number()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.must_be(Shape::Number, "a number")?;
        let number: f64 = self.0.parse().map_err(JsonError::text)?;
        if number.is_infinite() {
            return Err(JsonError::value("must be between -1.7e308 and 1.7e308".to_owned()));
        }
        visitor.visit_f64(number)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.must_be(Shape::Text, "a string")?;
        let mut reader = serde_json::Deserializer::from_str(self.0);
        reader.deserialize_str(visitor).map_err(|error| JsonError::value(format!("must be text: {error}")))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_str(visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct map
        identifier ignored_any
    }
}

/// The fields of an object and the texts of their values.
struct Fields<'de>(Vec<(String, &'de RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Hands the fields of an object to serde.
struct Object<'a, 'de> {
    fields: slice::Iter<'a, (String, &'de RawValue)>,
    /// The field whose name serde has and whose value it will ask for.
    next: Option<&'a (String, &'de RawValue)>,
}

/// Hands the items of an array to serde.
struct Array<'a, 'de> {
    items: slice::Iter<'a, &'de RawValue>,
    index: usize,
}

impl<'de> MapAccess<'de> for &mut Object<'_, 'de> {
    type Error = JsonError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, JsonError> {
        self.next = self.fields.next();
        let Some((name, _)) = self.next else { return Ok(None) };
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, JsonError> {
        // Serde asks for a value only after its name.
        let (name, value) = self.next.take().ok_or_else(|| JsonError::text("a value without a name"))?;
        seed.deserialize(Value(value.get())).map_err(|error| error.inside(&format!(".{name}")))
    }
}

impl<'de> SeqAccess<'de> for &mut Array<'_, 'de> {
    type Error = JsonError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, JsonError> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(Value(item.get())).map(Some).map_err(|error| error.inside(&format!("[{index}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}
