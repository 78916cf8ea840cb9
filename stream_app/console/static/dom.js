// Builds the page out of elements and text. There is no way from a text to markup here: a name that an event carries
// is always a text node, whatever stands in it.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

// Replaces what an element holds, but only where that differs, so that a selection or a focus inside survives.
export function fill(element, ...children) {
  const wanted = children.flat().filter((child) => child !== null && child !== undefined);
  const held = element.childNodes;
  const isSame = (child, at) => (typeof child === "string"
    ? held[at].nodeType === Node.TEXT_NODE && held[at].data === child
    : child.isEqualNode(held[at]));
  if (wanted.length !== held.length || !wanted.every(isSame)) element.replaceChildren(...wanted);
  return element;
}

// A foreign name as a person can read it: what could steer the text around it (controls, changes of direction) is shown
// as a mark, and its own direction stays inside.
const STEERING = /[\p{Cc}\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;

export const readable = (name) => String(name).replace(STEERING, "\ufffd");

export function named(name) {
  const text = readable(name);
  return h("bdi", { class: "name", title: text.length > 24 ? text : null }, text === "" ? "(empty)" : text);
}

export const linkTo = (dimension, key) =>
  h("a", { href: `#/${dimension}/${encodeURIComponent(key)}` }, named(key));
