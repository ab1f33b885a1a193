pub(crate) mod build;
mod explaining;
mod precedence;
mod rows;
