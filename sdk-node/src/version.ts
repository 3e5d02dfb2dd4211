// The version, for the service's logs. A test compares it with package.json: CommonJS and ES modules have no common
// way to import that file.

export const VERSION = "0.1.0";
