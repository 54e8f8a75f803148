//! A real browser: the API's page works in it under its policy, and no page of another origin moves money.

mod attack;
mod docs;
mod recorder;
