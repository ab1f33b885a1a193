//! Fields of JSON objects by names that compare without case, as ARM's properties do.

use serde_json::{Map, Value};

pub(super) type Object = Map<String, Value>;

/// The name as it is written there.
fn spelling<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    let exact = object.get_key_value(name);
    let found = exact.or_else(|| {
        object
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
    });
    found.map(|(key, _)| key.as_str())
}

pub(super) fn get<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    let exact = object.get(name);
    exact.or_else(|| {
        let mut fields = object.iter();
        let found = fields.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    })
}

pub(super) fn get_mut<'a>(object: &'a mut Object, name: &str) -> Option<&'a mut Value> {
    // Looked up twice: a borrow that is returned on one path only cannot be tried first.
    let key = spelling(object, name)?.to_owned();
    object.get_mut(&key)
}

pub(super) fn text<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    get(object, name)?.as_str()
}

pub(super) fn object<'a>(object: &'a Object, name: &str) -> Option<&'a Object> {
    get(object, name)?.as_object()
}

pub(super) fn object_mut<'a>(object: &'a mut Object, name: &str) -> Option<&'a mut Object> {
    get_mut(object, name)?.as_object_mut()
}

/// The objects in a list; nothing where there is no list.
pub(super) fn objects<'a>(object: &'a Object, name: &str) -> impl Iterator<Item = &'a Object> {
    let list = get(object, name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_object)
}

pub(super) fn objects_mut<'a>(
    object: &'a mut Object,
    name: &str,
) -> impl Iterator<Item = &'a mut Object> {
    let list = get_mut(object, name).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// The object of that name, made where there is none; nothing where there is something else.
pub(super) fn make_object<'a>(object: &'a mut Object, name: &str) -> Option<&'a mut Object> {
    make(object, name, || Value::Object(Map::new())).as_object_mut()
}

/// The list of that name, made where there is none; nothing where there is something else.
pub(super) fn make_list<'a>(object: &'a mut Object, name: &str) -> Option<&'a mut Vec<Value>> {
    make(object, name, || Value::Array(Vec::new())).as_array_mut()
}

fn make<'a>(object: &'a mut Object, name: &str, new: impl FnOnce() -> Value) -> &'a mut Value {
    let key = spelling(object, name).unwrap_or(name).to_owned();
    object.entry(key).or_insert_with(new)
}

/// Under the name as it is written there; at the end, where it is not there.
pub(super) fn set(object: &mut Object, name: &str, value: impl Into<Value>) {
    let key = spelling(object, name).unwrap_or(name).to_owned();
    object.insert(key, value.into());
}

/// Takes the field out, however often it is there; the first one counts.
pub(super) fn take(object: &mut Object, name: &str) -> Option<Value> {
    let mut first = None;
    while let Some(key) = spelling(object, name).map(str::to_owned) {
        let value = object.shift_remove(&key);
        first = first.or(value);
    }
    first
}

/// Takes out fields that are null, at any depth: they are as good as not there.
pub(super) fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(value: Value) -> Object {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn names_compare_without_case_and_keep_theirs() {
        let mut body =
            of(json!({"Tags": {}, "LOCATION": "x", "location": "y", "list": [1, {"a": 1}]}));
        assert_eq!(text(&body, "location"), Some("y"));
        assert_eq!(get(&body, "TAGS"), Some(&json!({})));
        set(&mut body, "tags", json!({"a": "b"}));
        assert_eq!(body.get("Tags"), Some(&json!({"a": "b"})));
        assert_eq!(take(&mut body, "location"), Some(json!("y")));
        assert_eq!(get(&body, "location"), None);
        assert_eq!(objects(&body, "List").count(), 1);
        make_object(&mut body, "properties").unwrap();
        assert!(make_list(&mut body, "tags").is_none());
        assert_eq!(
            Value::from(body),
            json!({"Tags": {"a": "b"}, "list": [1, {"a": 1}], "properties": {}})
        );
    }

    #[test]
    fn nulls_go() {
        let mut value = json!({"a": null, "b": [null, {"c": null, "d": 1}], "e": {"f": null}});
        without_nulls(&mut value);
        assert_eq!(value, json!({"b": [null, {"d": 1}], "e": {}}));
    }
}
