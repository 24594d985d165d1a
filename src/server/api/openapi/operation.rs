//! One operation of the API, as the table describes it.

use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::protocol::ErrorBody;
use crate::server::auth::Scope;

/// A wire type with the types that it refers to.
#[derive(Clone)]
pub(super) struct Type {
    pub(super) name: String,
    pub(super) schemas: Vec<(String, Value)>,
}

impl Type {
    /// The type `T`.
    pub(super) fn of<T: ToSchema>() -> Self {
        let mut schemas: Vec<(String, RefOr<Schema>)> = Vec::new();
        T::schemas(&mut schemas);
        schemas.push((T::name().into_owned(), T::schema()));
        let value = |(name, schema)| (name, serde_json::to_value(schema).expect("a schema"));
        Self { name: T::name().into_owned(), schemas: schemas.into_iter().map(value).collect() }
    }

    /// An object whose only field is a list of `T`; as a request it must not be empty.
    pub(super) fn list_of<T: ToSchema>(name: &str, field: &str, is_request: bool) -> Self {
        let Self { name: item, mut schemas } = Self::of::<T>();
        let mut list = json!({
            "type": "object",
            "required": [field],
            "properties": { field: { "type": "array", "items": { "$ref": format!("#/components/schemas/{item}") } } },
        });
        if is_request {
            list["additionalProperties"] = json!(false);
            list["properties"][field]["minItems"] = json!(1);
        }
        schemas.push((name.to_owned(), list));
        Self { name: name.to_owned(), schemas }
    }
}

/// The body of a request.
pub(super) struct RequestBody {
    pub(super) of: Type,
    pub(super) example: Value,
    /// Whether it may be left out.
    pub(super) is_optional: bool,
}

/// An answer that only this operation gives.
pub(super) struct OwnAnswer {
    pub(super) status: u16,
    pub(super) description: &'static str,
    /// What its body may be; empty for text.
    pub(super) types: Vec<Type>,
    pub(super) example: Option<Value>,
}

/// One operation.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// The `operationId`.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    /// The scope that the token needs; `None` if everybody may ask.
    pub(super) scope: Option<Scope>,
    pub(super) query: Option<Type>,
    pub(super) body: Option<RequestBody>,
    pub(super) answers: Vec<OwnAnswer>,
    /// Whether failures may also be `application/problem+json`.
    pub(super) has_problems: bool,
}

impl Operation {
    pub(super) fn new(
        method: &'static str,
        path: &'static str,
        scope: Option<Scope>,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            id,
            summary,
            scope,
            query: None,
            body: None,
            answers: Vec::new(),
            has_problems: false,
        }
    }

    pub(super) fn query<T: ToSchema>(self) -> Self {
        Self { query: Some(Type::of::<T>()), ..self }
    }

    pub(super) fn body<T: ToSchema>(self, example: Value) -> Self {
        self.typed_body(Type::of::<T>(), example)
    }

    pub(super) fn typed_body(self, of: Type, example: Value) -> Self {
        Self { body: Some(RequestBody { of, example, is_optional: false }), ..self }
    }

    pub(super) fn optional_body<T: ToSchema>(self, example: Value) -> Self {
        Self { body: Some(RequestBody { of: Type::of::<T>(), example, is_optional: true }), ..self }
    }

    /// The answer with status 200.
    pub(super) fn ok<T: ToSchema>(self, example: Value) -> Self {
        self.ok_typed(vec![Type::of::<T>()], example)
    }

    pub(super) fn ok_typed(self, types: Vec<Type>, example: Value) -> Self {
        self.answer(200, "the outcome", types, Some(example))
    }

    /// The answer with status 200 is text.
    pub(super) fn ok_text(self, description: &'static str) -> Self {
        self.answer(200, description, Vec::new(), None)
    }

    /// The answers with an error body and this status.
    pub(super) fn error(self, status: u16, description: &'static str) -> Self {
        self.answer(status, description, vec![Type::of::<ErrorBody>()], None)
    }

    /// The answers of this status have the body `T`.
    pub(super) fn failure<T: ToSchema>(self, status: u16, description: &'static str) -> Self {
        self.answer(status, description, vec![Type::of::<T>()], None)
    }

    /// The outcome is unknown: the body is `unknown`, or an error body if nothing was done.
    pub(super) fn unknown(self, unknown: Type) -> Self {
        let types = vec![unknown, Type::of::<ErrorBody>()];
        self.answer(
            503,
            "the outcome is unknown, or the service is busy; send the request again",
            types,
            None,
        )
    }

    /// Failures are `application/problem+json` for whoever accepts that.
    pub(super) fn with_problems(self) -> Self {
        Self { has_problems: true, ..self }
    }

    /// The answers of this status have one of two bodies.
    pub(super) fn either<A: ToSchema, B: ToSchema>(self, status: u16, description: &'static str) -> Self {
        self.answer(status, description, vec![Type::of::<A>(), Type::of::<B>()], None)
    }

    fn answer(
        mut self,
        status: u16,
        description: &'static str,
        types: Vec<Type>,
        example: Option<Value>,
    ) -> Self {
        self.answers.push(OwnAnswer { status, description, types, example });
        self
    }
}
