// Language, colours, and small helpers that all parts of the page share.
import { WORDS } from "/words.js";

const THEMES = ["auto", "light", "dark"];
const dark = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set();

function remembered(key, allowed, otherwise) {
  try {
    const value = localStorage.getItem(`footfall.${key}`);
    return allowed.includes(value) ? value : otherwise;
  } catch {
    return otherwise;
  }
}

function remember(key, value) {
  try {
    localStorage.setItem(`footfall.${key}`, value);
  } catch {
    // Private windows may refuse: the choice holds for this page then.
  }
}

export const page = {
  language: remembered("language", ["en", "zh"], navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en"),
  theme: remembered("theme", THEMES, "auto"),
};

export const byId = (id) => document.getElementById(id);
export const locale = () => (page.language === "zh" ? "zh-CN" : "en-GB");
export const t = (key, values = {}) =>
  (WORDS[page.language][key] ?? WORDS.en[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
export const whole = (value) => (value == null ? "–" : new Intl.NumberFormat(locale()).format(value));
export const decimal = (value) =>
  value == null || !Number.isFinite(value) ? "–" : new Intl.NumberFormat(locale(), { minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(value);
export const percent = (value, digits = 1) =>
  value == null || !Number.isFinite(value) ? "–" : new Intl.NumberFormat(locale(), { style: "percent", maximumFractionDigits: digits }).format(value);
export const clock = (ms, timeZone) => new Intl.DateTimeFormat(locale(), { timeZone, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(ms);
export const hourName = (hour) => `${String(hour).padStart(2, "0")}:00`;
export const weekdays = () =>
  [5, 6, 7, 8, 9, 10, 11].map((day) => new Intl.DateTimeFormat(locale(), { weekday: "short", timeZone: "UTC" }).format(Date.UTC(2026, 0, day)));
export const shift = (day, by) => new Date(Date.parse(day) + by * 86400000).toISOString().slice(0, 10);
/** 0 is Monday. */
export const weekday = (day) => (new Date(day).getUTCDay() + 6) % 7;
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** An element with attributes and children; text is never read as HTML. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets a text only when it changed, so that a screen reader or a selection is not disturbed each second. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const onLook = (listener) => listeners.add(listener);

export function applyLook() {
  const theme = page.theme === "auto" ? (dark.matches ? "dark" : "light") : page.theme;
  document.documentElement.dataset.theme = theme;
  document.documentElement.lang = locale();
  for (const element of document.querySelectorAll("[data-t]")) say(element, t(element.dataset.t));
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", t(element.dataset.label));
  const language = byId("language");
  say(language, t("language"));
  language.setAttribute("aria-label", t("language_label"));
  language.lang = page.language === "zh" ? "en" : "zh-CN";
  const button = byId("theme");
  say(button, t(`theme_${page.theme}`));
  button.setAttribute("aria-label", `${t("theme_label")}: ${t(`theme_${page.theme}`)}`);
  for (const listener of listeners) listener();
}

export function wireLook() {
  byId("language").addEventListener("click", () => {
    page.language = page.language === "zh" ? "en" : "zh";
    remember("language", page.language);
    applyLook();
  });
  byId("theme").addEventListener("click", () => {
    page.theme = THEMES[(THEMES.indexOf(page.theme) + 1) % THEMES.length];
    remember("theme", page.theme);
    applyLook();
  });
  dark.addEventListener("change", applyLook);
  applyLook();
}
