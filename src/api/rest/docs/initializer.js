// Swagger UI parses JSON into floats and writes them again: 9.00 becomes 9, and an id above 2^53 - 1 another id.
// These plugins show examples with the currency's decimals, and answers as they came.
"use strict";

// Writes each example with the decimals that the description's money has.
function moneyInExamples() {
  return {
    afterLoad(system) {
      const sample = this.fn.getSampleSchema;
      this.fn.getSampleSchema = (...args) => {
        const text = sample(...args);
        const schemas = system.specSelectors.specJson().toJS().components?.schemas;
        return typeof text === "string" && schemas ? withDecimals(text, schemas) : text;
      };
    },
  };
}

function withDecimals(text, schemas) {
  const decimals = schemas.Money["x-currency"].decimals;
  const properties = Object.values(schemas).flatMap((schema) => Object.entries(schema.properties ?? {}));
  const money = properties.filter(([, property]) => property.$ref?.endsWith("/Money")).map(([name]) => name);
  const number = new RegExp(`("(?:${money.join("|")})": )(\\d+(?:\\.\\d+)?)`, "g");
  return text.replace(number, (_, name, value) => name + Number(value).toFixed(decimals));
}

// Shows the body of an answer as text, byte for byte.
function answersAsTheyCame() {
  const asText = (Original, { React }) => (props) =>
    React.createElement(Original, { ...props, contentType: "text/plain" });
  return { wrapComponents: { responseBody: asText } };
}

window.onload = () => {
  window.ui = SwaggerUIBundle({
    url: "/api/v1/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    validatorUrl: "none",
    plugins: [moneyInExamples, answersAsTheyCame],
  });
};
