//! What a request may name: a known name is given once, and spelled as it is documented.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::CowStrDeserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

use crate::api::reason::Problem;

/// The known names of which a request has had some.
#[derive(Clone, Copy)]
pub struct Names {
    known: &'static [&'static str],
    /// One bit for each known name that was given.
    given: u64,
}

impl Names {
    /// Nothing was given yet.
    ///
    /// # Panics
    /// If there are more than 64 known names.
    #[must_use]
    pub const fn new(known: &'static [&'static str]) -> Self {
        assert!(known.len() <= u64::BITS as usize, "each name has a bit");
        Self { known, given: 0 }
    }

    /// Notes that `name` is given, and tells which of the known names it is; `None` if it is none of them.
    ///
    /// # Errors
    /// [`crate::api::reason::Reason::InvalidRequest`] if it was given before, or differs from a known name in case
    /// alone: whoever misspells a name does not mean it to be ignored.
    pub fn give(&mut self, name: &str) -> Result<Option<usize>, Problem> {
        let Some(index) = self.known.iter().position(|known| *known == name) else {
            let meant = self.known.iter().find(|known| known.eq_ignore_ascii_case(name));
            return meant.map_or(Ok(None), |known| Err(Problem::invalid(format!("{name} must be spelled {known}"))));
        };
        let bit = 1 << index;
        if self.given & bit != 0 {
            return Err(Problem::invalid(format!("{name} is given more than once")));
        }
        self.given |= bit;
        Ok(Some(index))
    }
}

/// Why a request's fields cannot be read.
pub enum ReadError<E> {
    /// One of them is not named as it should be.
    Name(Problem),
    /// The input is not well formed.
    Input(E),
}

/// Reads a struct from an object whose names are checked. Names that are not known are ignored.
///
/// # Errors
/// [`ReadError`], for the first name that is wrong, or if the input cannot be read.
pub fn read_object<'de, T, D>(input: D) -> Result<T, ReadError<D::Error>>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let mut problem = None;
    let read = T::deserialize(Checked { inner: input, names: Names::new(&[]), problem: &mut problem });
    read.map_err(|error| problem.map_or(ReadError::Input(error), ReadError::Name))
}

/// A deserializer, a visitor or the entries of an object, with the names that it may have.
struct Checked<'p, I> {
    inner: I,
    names: Names,
    /// What is wrong with a name: the error that serde carries is only a text.
    problem: &'p mut Option<Problem>,
}

/// The derived code of a struct asks for `deserialize_struct`, and says which fields it knows.
impl<'de, D: Deserializer<'de>> Deserializer<'de> for Checked<'_, D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_map(Checked { inner: visitor, names: Names::new(fields), problem: self.problem })
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Checked<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        let Self { inner, names, problem } = self;
        inner.visit_map(Checked { inner: entries, names, problem })
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Checked<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(Name(name)) = self.inner.next_key()? else { return Ok(None) };
        if let Err(problem) = self.names.give(&name) {
            *self.problem = Some(problem);
            return Err(A::Error::custom("a name"));
        }
        seed.deserialize(CowStrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.inner.next_value_seed(seed)
    }
}

/// A name of an object: borrowed, unless it is written with escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
