// Pages opened from a folder may start no worker, and search runs in one: there it runs in a frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.loaded = new Promise((loaded) => {
        this.frame = document.createElement("iframe");
        this.frame.hidden = true;
        this.frame.onload = loaded;
      });
      // Inside, a worker's two functions: one speaks to this page, one loads scripts in turn.
      this.frame.srcdoc = `<script>
        postMessage = (data) => parent.dispatchEvent(new MessageEvent("worker", { data }));
        importScripts = (...urls) => urls.reduce((before, url) => before.then(() =>
          new Promise((loaded, failed) => {
            const script = document.createElement("script");
            Object.assign(script, { src: url, onload: loaded, onerror: failed });
            document.head.append(script);
          })), Promise.resolve());
      <\/script><script src="${url}"><\/script>`;
      addEventListener("worker", ({ data }) => {
        this.dispatchEvent(new MessageEvent("message", { data }));
      });
      document.addEventListener("DOMContentLoaded", () => this.attach());
      if (document.readyState !== "loading") this.attach();
    }

    attach() {
      document.body.append(this.frame);
    }

    postMessage(data) {
      this.loaded.then(() => {
        this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
      });
    }

    terminate() {
      this.frame.remove();
    }
  };
}
