"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  root.classList.add("js");
  for (const element of all(".play, .seek, .line, [data-stage]")) element.hidden = false;

  // Which product's side of a comparison is shown.
  for (const group of all("[data-versions]")) {
    for (const radio of all("[data-switch] input", group)) {
      radio.addEventListener("change", () => { group.dataset.show = radio.value; });
      if (radio.checked) group.dataset.show = radio.value;
    }
    for (const box of all("[data-ids]", group)) {
      const apply = () => group.classList.toggle("ids", box.checked);
      box.addEventListener("change", apply);
      apply();
    }
  }

  // The line between an original and its reconstruction.
  for (const frame of all("[data-compare]")) {
    const line = frame.querySelector("[data-line]");
    if (!line) continue;
    const put = (percent) => {
      line.value = percent;
      frame.style.setProperty("--at", `${percent}%`);
    };
    line.addEventListener("input", () => put(line.value));
    frame.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "mouse") return;
      const box = frame.getBoundingClientRect();
      put(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width)));
    });
    frame.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") put(50); });
  }

  // Takes of one sound share a clock: another one goes on where this one is.
  let playing = null;
  const watchers = new WeakMap();
  for (const owner of all("[data-takes]")) {
    const takes = all("[data-take]", owner).map((take) => ({
      take,
      audio: take.querySelector("audio"),
      button: take.querySelector("[data-play]"),
      seek: take.querySelector("[data-seek]"),
    }));
    let at = 0;
    const show = (time) => {
      at = time;
      for (const { take, audio, seek } of takes) {
        const share = audio.duration ? Math.min(1, time / audio.duration) : 0;
        take.style.setProperty("--p", `${100 * share}%`);
        take.classList.toggle("begun", time > 0);
        seek.value = share;
        seek.setAttribute("aria-valuetext", `${time.toFixed(1)} s`);
      }
      watchers.get(owner)?.(time);
    };
    const follow = (one) => {
      if (playing !== one) return;
      show(one.audio.currentTime);
      requestAnimationFrame(() => follow(one));
    };
    const stop = (one) => {
      one.audio.pause();
      one.button.setAttribute("aria-pressed", "false");
      if (playing === one) playing = null;
    };
    for (const one of takes) {
      one.stop = () => stop(one);
      one.button.setAttribute("aria-pressed", "false");
      one.button.addEventListener("click", () => {
        if (playing === one) return stop(one);
        playing?.stop();
        playing = one;
        one.audio.currentTime = one.audio.duration && at >= one.audio.duration - 0.05 ? 0 : at;
        one.button.setAttribute("aria-pressed", "true");
        one.audio.play().then(() => follow(one), () => stop(one));
      });
      one.audio.addEventListener("ended", () => { stop(one); show(0); });
      one.seek.addEventListener("input", () => move((one.seek.value * one.audio.duration) || 0));
    }
    const move = (time) => {
      if (playing && takes.includes(playing)) playing.audio.currentTime = time;
      show(time);
    };
    owner.moveTo = move;
  }

  // The film: its frames follow the clock of its sound, or one of its own.
  for (const film of all("[data-film]")) {
    const shown = Number(film.dataset.shown) || 1;
    const head = film.querySelector("[data-playhead]");
    const facts = film.querySelector("[data-facts]");
    const timeline = film.querySelector(".timeline");
    const mark = film.querySelector("[data-psnr]:not(img)");
    const bars = all(".bar", film);
    const screens = all("[data-screen]", film).map((screen) => ({
      screen,
      frames: all(`[data-frame="${screen.dataset.screen}"]`, film),
    }));
    const watch = film.querySelector("[data-time]");
    const spoken = film.querySelector("[data-cue]");
    const cues = all(".bar[data-until]", film);
    head.hidden = false;
    const look = (time) => {
      if (watch) watch.textContent = `${Math.floor(time / 60)}:${(Math.floor((time % 60) * 10) / 10).toFixed(1).padStart(4, "0")}`;
      const cue = cues.filter((bar) => Number(bar.dataset.from) <= time + 1e-3 && time < Number(bar.dataset.until)).pop();
      if (spoken) spoken.textContent = cue ? cue.textContent : "";
      head.style.setProperty("--p", Math.min(1, time / shown));
      for (const { screen, frames } of screens) {
        const now = frames.filter((frame) => Number(frame.dataset.at) <= time + 1e-3).pop() ?? frames[0];
        if (!now || screen.shows === now) continue;
        screen.shows = now;
        screen.src = now.src;
        screen.alt = now.alt;
        if (mark && screen.dataset.screen === "rebuilt") mark.textContent = now.dataset.psnr;
      }
    };
    watchers.set(film, look);
    look(0);
    const say = (bar) => {
      for (const other of bars) other.classList.toggle("now", other === bar);
      if (facts) facts.textContent = bar.title;
    };
    for (const list of all("[data-bars]", film)) {
      const own = all(".bar", list);
      own.forEach((bar, index) => {
        bar.tabIndex = index ? -1 : 0;
        bar.addEventListener("pointerenter", () => say(bar));
        bar.addEventListener("focus", () => say(bar));
        bar.addEventListener("click", () => film.moveTo(Math.max(0, Number(bar.dataset.from))));
        bar.addEventListener("keydown", (event) => {
          const step = { ArrowRight: 1, ArrowLeft: -1, Home: -own.length, End: own.length }[event.key];
          if (!step) return;
          event.preventDefault();
          const next = own[Math.min(own.length - 1, Math.max(0, index + step))];
          for (const other of own) other.tabIndex = other === next ? 0 : -1;
          next.focus();
        });
      });
    }
    for (const frame of all(".frame", film)) {
      frame.addEventListener("click", () => film.moveTo(Number(frame.dataset.at)));
    }
    const silent = film.querySelector("[data-silent]");
    if (silent) {
      let begun = null;
      const stop = () => { begun = null; silent.setAttribute("aria-pressed", "false"); };
      stop();
      silent.addEventListener("click", () => {
        if (begun !== null) return stop();
        const mine = begun = performance.now();
        silent.setAttribute("aria-pressed", "true");
        const step = () => {
          if (begun !== mine) return;
          const time = (performance.now() - mine) / 1000;
          if (time >= shown) { stop(); look(0); return; }
          look(time);
          requestAnimationFrame(step);
        };
        step();
      });
    }
    timeline.addEventListener("pointerleave", () => { for (const bar of bars) bar.classList.remove("now"); });
  }

  // Where one is on the page.
  const links = new Map(all(".contents a").map((link) => [link.hash.slice(1), link]));
  const seen = new Map();
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) seen.set(entry.target.id, entry.isIntersecting);
    const now = [...links.keys()].find((id) => seen.get(id));
    for (const [id, link] of links) {
      if (id === now) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-20% 0px -60% 0px" });
  for (const id of links.keys()) watcher.observe(document.getElementById(id));
})();
