// Named to the service, for its logs. A test holds it to package.json: CommonJS and ES modules have no
// common way to import that.

export const VERSION = "0.1.0";
