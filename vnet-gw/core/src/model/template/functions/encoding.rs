//! Functions between texts and what they stand for: JSON, base 64, URIs.

use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Args, Result, check_size};
use crate::model::template::evaluate::invalid;

/// What stays as it is in a component of a URI (RFC 3986, 2.3).
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

const DATA: &str = "data:text/plain;charset=utf8;base64,";

pub(super) fn call(function: &str, args: &Args<'_, '_>) -> Option<Result<Value>> {
    Some(match function {
        "json" => args.one_text().and_then(|text| parsed(args, text)),
        "base64" => args.one_text().and_then(|text| {
            check_size(args.name, text.len().saturating_mul(2))?;
            Ok(json!(BASE64_STANDARD.encode(text)))
        }),
        "base64tostring" => args
            .one_text()
            .and_then(|text| decoded(args, text))
            .map(Value::from),
        "base64tojson" => args
            .one_text()
            .and_then(|text| parsed(args, &decoded(args, text)?)),
        "datauri" => args.one_text().and_then(|text| {
            check_size(args.name, text.len().saturating_mul(2))?;
            Ok(json!(format!("{DATA}{}", BASE64_STANDARD.encode(text))))
        }),
        "datauritostring" => data(args),
        "uri" => uri(args),
        "uricomponent" => args.one_text().and_then(|text| {
            check_size(args.name, text.len().saturating_mul(3))?;
            Ok(json!(utf8_percent_encode(text, COMPONENT).to_string()))
        }),
        "uricomponenttostring" => args.one_text().and_then(|text| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(Value::from)
                .map_err(|_| invalid("uriComponentToString() gives no UTF-8."))
        }),
        _ => return None,
    })
}

fn parsed(args: &Args<'_, '_>, text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|_| invalid(format!("{}() is given what is no JSON.", args.name)))
}

fn decoded(args: &Args<'_, '_>, text: &str) -> Result<String> {
    let bytes = BASE64_STANDARD.decode(text.trim()).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| invalid(format!("{}() is given no text in base 64.", args.name)))
}

/// `data:text/plain,…` or `data:…;base64,…`
fn data(args: &Args<'_, '_>) -> Result<Value> {
    let text = args.one_text()?;
    let parts = text
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(','));
    match parts {
        Some((kind, encoded)) if kind.ends_with(";base64") => {
            decoded(args, encoded).map(Value::from)
        }
        Some((_, plain)) => Ok(json!(percent_decode_str(plain).decode_utf8_lossy())),
        None => Err(invalid("dataUriToString() is given no data URI.")),
    }
}

/// A relative URI at a base: instead of what follows the last slash of the base.
fn uri(args: &Args<'_, '_>) -> Result<Value> {
    let [base, relative] = args.two_texts()?;
    let start = base
        .find("://")
        .map(|at| at + 3)
        .ok_or_else(|| args.wrong("a URI", &json!(base)))?;
    let host_end = base[start..].find('/').map_or(base.len(), |at| start + at);
    check_size(args.name, base.len() + relative.len())?;
    Ok(json!(match relative.strip_prefix('/') {
        Some(rest) => format!("{}/{rest}", &base[..host_end]),
        None => {
            let last = base[host_end..]
                .rfind('/')
                .map_or(host_end, |at| host_end + at);
            format!("{}/{relative}", &base[..last])
        }
    }))
}
