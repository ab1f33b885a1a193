//! `vnet-gw rest`

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, Result};
use axum::{body::Bytes, http::Method};
use serde_json::Value;

use super::{
    Verdict,
    args::{Cli, MethodArg, RestArgs},
    output, source,
};
use crate::api::client::ClientError;

pub(super) fn run(cli: &Cli, args: &RestArgs) -> Result<Verdict> {
    let method = match args.method {
        MethodArg::Get => Method::GET,
        MethodArg::Head => Method::HEAD,
        MethodArg::Put => Method::PUT,
        MethodArg::Patch => Method::PATCH,
        MethodArg::Post => Method::POST,
        MethodArg::Delete => Method::DELETE,
    };
    let body = args.body.as_deref().map(read).transpose()?;
    let mut client = source::api(cli)?;
    let reply = match client.follow_bytes(method, &args.path, body) {
        Ok(reply) => reply,
        // As it came, for whoever looks for a code in it.
        Err(ClientError::Refused(refused)) if refused.body != Value::Null => {
            output::json(&refused.body)?;
            return Ok(Verdict::Bad);
        }
        Err(error) => return Err(error.into()),
    };
    for warning in reply.warnings() {
        eprintln!("warning: {warning}");
    }
    if reply.body != Value::Null {
        output::json(&reply.body)?;
    }
    Ok(Verdict::Good)
}

fn read(path: &Path) -> Result<Bytes> {
    if path == Path::new("-") {
        let mut text = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut text);
        read.context("reading standard input")?;
        return Ok(text.into());
    }
    let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(text.into())
}
