//! The grammar of template expressions, `"[concat(variables('a').b[0], '-x')]"`.

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Text(String),
    Int(i64),
    Call {
        name: String,
        arguments: Vec<Expression>,
    },
    Property(Box<Expression>, String),
    Index(Box<Expression>, Box<Expression>),
}

/// What a template string stands for.
#[derive(Debug, PartialEq)]
pub(super) enum Text<'a> {
    Literal(&'a str),
    /// What stands between the outer brackets.
    Expression(&'a str),
}

/// A string in brackets is an expression, unless the first bracket is doubled.
pub(super) fn classify(text: &str) -> Text<'_> {
    match text.strip_prefix('[') {
        Some(rest) if rest.starts_with('[') => Text::Literal(rest),
        Some(rest) => rest
            .strip_suffix(']')
            .map_or(Text::Literal(text), Text::Expression),
        None => Text::Literal(text),
    }
}

/// Nesting beyond this is an attack on the stack, not a template.
const MAX_DEPTH: usize = 64;

/// Parses what stands between the brackets; an error says what is wrong and where.
pub(super) fn parse(text: &str) -> Result<Expression, String> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    let expression = parser.expression()?;
    parser.skip_space();
    match parser.peek() {
        None => Ok(expression),
        Some(c) => Err(parser.wrong(&format!("'{c}' is not expected"))),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn expression(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong("it is nested too deeply"));
        }
        self.skip_space();
        let mut expression = match self.peek() {
            Some('\'') => Expression::Text(self.text_literal()?),
            Some(c) if c == '-' || c.is_ascii_digit() => Expression::Int(self.int()?),
            Some(c) if is_word(c) => self.call()?,
            Some(c) => return Err(self.wrong(&format!("'{c}' is not expected"))),
            None => return Err(self.wrong("it ends too early")),
        };
        loop {
            self.skip_space();
            if self.take('.') {
                let name = self.word();
                if name.is_empty() {
                    return Err(self.wrong("the name of a property is missing"));
                }
                expression = Expression::Property(expression.into(), name);
            } else if self.take('[') {
                let index = self.expression()?;
                self.expect(']')?;
                expression = Expression::Index(expression.into(), index.into());
            } else {
                self.depth -= 1;
                return Ok(expression);
            }
        }
    }

    fn call(&mut self) -> Result<Expression, String> {
        let mut name = self.word();
        // A function of the template's own: `contoso.name()`.
        while self.rest().starts_with('.') {
            self.at += 1;
            name = format!("{name}.{}", self.word());
        }
        self.skip_space();
        if !self.take('(') {
            return Err(self.wrong("'(' is expected"));
        }
        let mut arguments = Vec::new();
        self.skip_space();
        if self.take(')') {
            return Ok(Expression::Call { name, arguments });
        }
        loop {
            arguments.push(self.expression()?);
            self.skip_space();
            if self.take(')') {
                return Ok(Expression::Call { name, arguments });
            }
            self.expect(',')?;
        }
    }

    /// `'it''s'` is `it's`.
    fn text_literal(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let Some(length) = self.rest().find('\'') else {
                return Err(self.wrong("a string has no closing '"));
            };
            out.push_str(&self.rest()[..length]);
            self.at += length + 1;
            if !self.take('\'') {
                return Ok(out);
            }
            out.push('\'');
        }
    }

    fn int(&mut self) -> Result<i64, String> {
        let rest = self.rest();
        let end = rest[1..]
            .find(|c: char| !c.is_ascii_digit())
            .map_or(rest.len(), |n| n + 1);
        let number = rest[..end].parse();
        let number = number.map_err(|_| self.wrong("this is no integer"));
        self.at += end;
        number
    }

    fn word(&mut self) -> String {
        let rest = self.rest();
        let word = rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())].to_owned();
        self.at += word.len();
        word
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn expect(&mut self, c: char) -> Result<(), String> {
        self.skip_space();
        if self.take(c) {
            Ok(())
        } else {
            Err(self.wrong(&format!("'{c}' is expected")))
        }
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn wrong(&self, what: &str) -> String {
        let column = self.text[..self.at].chars().count() + 1;
        format!("{what} (character {column} of the expression)")
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, arguments: Vec<Expression>) -> Expression {
        Expression::Call {
            name: name.to_owned(),
            arguments,
        }
    }

    #[test]
    fn strings_are_told_from_expressions() {
        assert_eq!(classify("VNet1"), Text::Literal("VNet1"));
        assert_eq!(classify("[[x]"), Text::Literal("[x]"));
        assert_eq!(classify("[x"), Text::Literal("[x"));
        assert_eq!(classify("[x()]"), Text::Expression("x()"));
        assert_eq!(classify(""), Text::Literal(""));
    }

    #[test]
    fn literals_calls_properties_and_indexes_parse() {
        let text = |t: &str| Expression::Text(t.to_owned());
        assert_eq!(parse(" 'it''s' ").unwrap(), text("it's"));
        assert_eq!(parse("-12").unwrap(), Expression::Int(-12));
        assert_eq!(
            parse("f( 'a', g() ).b[0]").unwrap(),
            Expression::Index(
                Expression::Property(
                    call("f", vec![text("a"), call("g", vec![])]).into(),
                    "b".to_owned()
                )
                .into(),
                Expression::Int(0).into(),
            )
        );
        assert_eq!(parse("my.f()").unwrap(), call("my.f", vec![]));
    }

    #[test]
    fn errors_say_where() {
        for (text, message) in [
            ("f(", "it ends too early (character 3"),
            ("f('a'", "',' is expected (character 6"),
            ("f", "'(' is expected (character 2"),
            ("'a", "a string has no closing '"),
            ("f() g()", "'g' is not expected (character 5"),
            ("f().", "the name of a property is missing"),
            ("99999999999999999999", "is no integer"),
            ("-", "is no integer"),
            ("", "it ends too early"),
            ("é", "'(' is expected (character 2"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
        assert!(
            parse(&"f(".repeat(100_000))
                .unwrap_err()
                .contains("too deeply")
        );
    }
}
