//! What can be asked about: the contract, health, reflection itself, and the details of an error.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, FileDescriptor};

/// The contract, as the program was made from it.
const CONTRACT: &[u8] = tonic::include_file_descriptor_set!("wallet");

/// All descriptors, by the names of what they have.
pub struct Descriptors {
    pool: DescriptorPool,
    /// Where each message, field, enum, value, service and method stands, by its full name.
    files: HashMap<String, FileDescriptor>,
}

impl Descriptors {
    /// # Panics
    /// Never: the descriptors are made with the program.
    pub fn new() -> Self {
        let mut pool = DescriptorPool::new();
        for set in [
            CONTRACT,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
            // So that a client without files can also read the details of an error.
            tonic_types::pb::FILE_DESCRIPTOR_SET,
        ] {
            pool.decode_file_descriptor_set(set).expect("the descriptors are valid");
        }
        let files = names(&pool).into_iter().collect();
        Self { pool, files }
    }

    /// The file with this name, encoded.
    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.pool.get_file_by_name(name).map(|file| file.encode_to_vec())
    }

    /// The file that has this symbol, encoded.
    pub fn file_of(&self, symbol: &str) -> Option<Vec<u8>> {
        self.files.get(symbol).map(FileDescriptor::encode_to_vec)
    }

    /// The file that has the message's extension with this number, encoded.
    pub fn file_of_extension(&self, message: &str, number: i32) -> Option<Vec<u8>> {
        let extension = self.pool.get_message_by_name(message)?.get_extension(number.try_into().ok()?)?;
        Some(extension.parent_file().encode_to_vec())
    }

    /// The numbers of the message's extensions; `None` if there is no such message.
    pub fn extension_numbers(&self, message: &str) -> Option<Vec<i32>> {
        let message = self.pool.get_message_by_name(message)?;
        Some(message.extensions().filter_map(|extension| extension.number().try_into().ok()).collect())
    }

    /// The full name of every service.
    pub fn services(&self) -> impl Iterator<Item = String> {
        self.pool.services().map(|service| service.full_name().to_owned())
    }
}

/// Every name, and the file that has it.
fn names(pool: &DescriptorPool) -> Vec<(String, FileDescriptor)> {
    let mut names = Vec::new();
    let mut add = |name: &str, file: FileDescriptor| names.push((name.to_owned(), file));
    for message in pool.all_messages() {
        add(message.full_name(), message.parent_file());
        message.fields().for_each(|field| add(field.full_name(), message.parent_file()));
        message.oneofs().for_each(|oneof| add(oneof.full_name(), message.parent_file()));
    }
    for kind in pool.all_enums() {
        add(kind.full_name(), kind.parent_file());
        kind.values().for_each(|value| add(value.full_name(), kind.parent_file()));
    }
    for service in pool.services() {
        add(service.full_name(), service.parent_file());
        service.methods().for_each(|method| add(method.full_name(), service.parent_file()));
    }
    for extension in pool.all_extensions() {
        add(extension.full_name(), extension.parent_file());
    }
    names
}
